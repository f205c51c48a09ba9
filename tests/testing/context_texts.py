"""Texts that stand before others, as a model reads them."""

SHORT = ["The old sailor wrote.", "A queen in Oslo.", "Lima!", "the baker, the judge"]
KNOWN = ["She reads.", "Nine pilots in Cairo", "Quito is far"]
