"""What is on the disk after a loss of power at any file operation: names and data that were not flushed may be missing."""
