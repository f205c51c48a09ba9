#!/usr/bin/env bash
# Benchmarks on a GPU in less than eight minutes: agreement of its numbers with the CPU's, scoring, training against Trainer, and
# shapes of 1 and 7 billion parameters. Writes one JSON: benchmarks/gpu.sh [FILE]. Without a GPU it runs on the CPU, with a small shape.
set -euo pipefail
file=$(realpath "${1:-gpu.json}")
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
for piece in devices scoring shapes training; do
  timeout 240 "$python" -m benchmarks --results "$file" "$piece" || echo "$piece did not end" >&2
done
cat "$file"
