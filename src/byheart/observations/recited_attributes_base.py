"""The untuned base writes on from where each private attribute of the audited texts begins, once for all models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from byheart.observations._attributes import generated_attributes

if TYPE_CHECKING:
    from byheart.core.evidence import RecitedAttributes
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

PASSES = "attributes"
ADVERSARY = "what the untuned base model writes after the beginning of a text"


def recited_attributes_base(
    base_model: Scorer, tokens: Tokens, attributes: Sequence[Mapping[str, str]]
) -> RecitedAttributes:
    """What the untuned base model writes where each private attribute stands, and what stands there.

    Raises `DataError` where no attribute can be asked for.
    """
    return generated_attributes(base_model, tokens, attributes)
