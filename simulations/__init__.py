"""Does an interval hold what it promises, and is a test right about chance? Seeded simulations: `make simulate`.

- `draws`: populations whose truth is known, and data sets drawn from them.
- `intervals`: how often each 95 % interval holds the truth.
- `alarms`: how often each verdict and test is raised by chance, and how often under a leak of known size.
- `tables`: the numbers as the tables of docs/statistics.md.

Results stand in results.json beside this file, a piece at a time, so that an interruption loses one piece.
"""
