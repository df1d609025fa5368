"""Pages of results: one HTML file each, pictures inside, readable in light and dark."""
