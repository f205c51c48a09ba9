"""Costs of byheart compared with common tools: `make bench` measures, and writes docs/benchmarks.md."""
