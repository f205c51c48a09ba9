"""Kinds of input, one file for each; the function `surface` of a file returns the surface."""
