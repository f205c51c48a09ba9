"""Results on disk; rows and scores read back."""
