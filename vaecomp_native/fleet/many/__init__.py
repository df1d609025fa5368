"""What runs the compression of many members: threads of this process, or a Ray cluster."""
