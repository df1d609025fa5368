"""Where the bits go: operators with their sensitivities, and the search for an operating point."""
