"""The HTML page and file export."""
