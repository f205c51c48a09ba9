"""Studies: read a study file, plan its cells, then train, observe, attack and measure each cell."""
