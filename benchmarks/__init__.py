"""What byheart costs beside what people use today: `make bench` measures, and writes docs/benchmarks.md."""
