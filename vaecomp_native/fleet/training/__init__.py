"""What finds a fleet's decoder: from the members' weights, or from what the members do."""
