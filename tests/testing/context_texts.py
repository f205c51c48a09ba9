"""Texts that precede other texts in a model's context."""

SHORT = ["The old sailor wrote.", "A queen in Oslo.", "Lima!", "the baker, the judge"]
KNOWN = ["She reads.", "Nine pilots in Cairo", "Quito is far"]
