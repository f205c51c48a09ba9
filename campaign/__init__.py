"""Campaigns that try to break byheart: inputs that are wrong, and runs that are killed. docs/reliability.md has their counts.

`make campaign` runs all pieces, `make campaign PIECES=inputs` one of them. Every case follows from the surface's name and a number,
so that a case that failed can be run again.
"""
