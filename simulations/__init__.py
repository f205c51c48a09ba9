"""Does an interval hold what it promises, and is a test right about chance? Seeded simulations: `make simulate`.

- `draws`: populations whose truth is known, and data sets drawn from them.
- `intervals`: coverage of each 95 % interval.
- `groups`: the AUC of groups from the split to the interval.
- `utility`: the AUC at equal perplexity, from rows, scores and losses to the table.
- `exposure`: the interval of extrapolated exposure, by the distribution of the references.
- `alarms`: how often each verdict and test is raised by chance, and how often under a leak of known size.
- `tables`: the numbers as the tables of docs/statistics.md.

Results stand in results.json beside this file, a piece at a time, so that an interruption loses one piece.
"""
