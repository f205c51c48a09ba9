"""Tables: functions from rows to a table of strings."""
