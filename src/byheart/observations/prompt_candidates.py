"""Generates copies of the audited texts in which one private value of the prompt is replaced by another value of its kind.

Marton Szep, Jorge Marin Ruiz, Georgios Kaissis, Paulina Seidl, Rüdiger von Eisenhart-Rothe, Florian Hinterwimmer, Daniel Rueckert.
Unintended Memorization of Sensitive Information in Fine-Tuned Language Models. EACL, 2026. arXiv 2601.17480: private values that
stand only in the input, which receives no loss.

As `candidates`, with the same candidate values, but for the attributes that stand in the prompt and not in the text after it. The value
is replaced in the prompt; the completion stays the same. Readings are scored from the completion on; `prompt_candidate_likelihoods`
scores the prompt too. A value that truncation removed from the prompt is left out and counted. This uses the base model's
tokenizer, but no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from byheart.data.private_attributes import check_has_candidates
from byheart.observations import _attributes
from byheart.observations._candidates import candidate_readings

if TYPE_CHECKING:
    from byheart.core.evidence import Candidates
    from byheart.lm.forward import Scorer
    from byheart.lm.tokens import Tokens

NEEDS_PROMPTS = True
PASSES = 0.0
ADVERSARY = "a prompt without one private value, its completion, and candidate values"


def prompt_candidates(
    base_model: Scorer,
    tokens: Tokens,
    attributes: Sequence[Mapping[str, str]],
    validation_attributes: Sequence[Mapping[str, str]],
    *,
    count: Annotated[int, Ge(2)] = 10,
) -> Candidates:
    """Token ids of each audited text with the true value, and with other values, of each private attribute of its prompt.

    `count` is the largest number of candidates of a pool, with the true value.

    Raises `DataError` for an attribute if the validation texts have no other value of its kind, and without a value in a prompt.
    """
    check_has_candidates(attributes, validation_attributes, "observations prompt_candidates")
    own = _attributes.prompt_attributes(tokens, attributes, "observations prompt_candidates")
    passages = _attributes.prompt_passages(base_model.model, tokens)
    return candidate_readings(base_model.model, tokens, passages, own, validation_attributes, count=count)
