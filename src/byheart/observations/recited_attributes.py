"""The model under attack writes on from where each private attribute of the audited texts begins.

Whoever uses it needs no numbers from the model, only what it writes, and the text up to the attribute, which it must
know. The beginning is the text's own tokens that stand wholly before the attribute, BOS and prompt included; the model
takes its likeliest token each time, for as many tokens as the true value has and eight more, since it may spell it with
others. Where a value stands several times, its first place is asked for. An attribute that nothing stands before, or that
was cut off with the end of a text that is too long, is left out and counted.

A reading by the model and a token at a time after that cost about one pass over the text for each attribute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from byheart.observations._attributes import generated_attributes

if TYPE_CHECKING:
    from byheart.core.evidence import RecitedAttributes
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = "attributes"
UNTUNED = "recited_attributes_base"
ADVERSARY = "what the model under attack writes after the beginning of a text"


def recited_attributes(model: Scorer, tokens: Tokens, attributes: Sequence[Mapping[str, str]]) -> RecitedAttributes:
    """What the model that is attacked writes where each private attribute stands, and what stands there.

    Raises `DataError` where no attribute can be asked for.
    """
    return generated_attributes(model, tokens, attributes)
