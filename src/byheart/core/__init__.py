"""Value types, errors, settings and the registry of shelves. No torch, no files."""
