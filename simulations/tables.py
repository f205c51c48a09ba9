"""The simulated rates as the tables of docs/statistics.md."""
