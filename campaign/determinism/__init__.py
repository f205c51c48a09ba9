"""The same seed gives the same bytes: in other processes, folders, languages and time zones, with more workers and other batches."""
