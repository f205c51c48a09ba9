"""Faults of the machine while byheart runs: disks, permissions, memory, processes, clocks, changed bytes; and the run after each."""
