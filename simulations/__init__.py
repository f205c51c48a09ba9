"""Seeded simulations of the coverage of intervals and of the false positive rate of tests: `make simulate`.

- `draws`: populations with known true values, and data sets sampled from them.
- `intervals`: coverage of each 95 % interval.
- `groups`: the AUC of groups from the split to the interval.
- `utility`: the AUC at equal perplexity, from rows, scores and losses to the table.
- `exposure`: the interval of extrapolated exposure, by the distribution of the references.
- `alarms`: false positive rate of each verdict and test, and power under a leak of known size.
- `tables`: writes the tables of docs/statistics.md; `coverage_tables` and `alarm_tables` make them from `table_parts`.

Results are stored in results.json after each piece, so that an interruption loses one piece.
"""
