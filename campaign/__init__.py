"""Campaigns that try to break byheart: wrong and hostile inputs, kills, losses of power, faults of the machine, and other surroundings.

`make campaign` runs all pieces, `make campaign PIECES=inputs` one of them. Every case follows from the surface's name and a number,
so that a case that failed can be run again.
"""
