"""The report of one or several runs as one HTML page."""
