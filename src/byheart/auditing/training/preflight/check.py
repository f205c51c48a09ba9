"""Compare the watched texts with the trainer's own training data before the first step."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from byheart.auditing.training.preflight import report
from byheart.auditing.training.preflight.find_tokens import WINDOW, Found, TokenSequence, find
from byheart.auditing.training.preflight.report import Preflight, TextResult
from byheart.auditing.training.preflight.training_rows import UnreadableDataError, collated, training_rows
from byheart.lm.tokens import Tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Trainer

MIN_TOKENS = 4
"""Minimum number of tokens, with the prompt, of a text that is looked for."""


MIN_SHARE = 0.5
"""Minimum share of the tokens of a text that should be absent, to count it as present in part."""


class WatchedTexts(NamedTuple):
    """Texts of a part as tokens, and the number of copies that each should have in the training data, 0 for none."""

    part: str
    tokens: Tokens
    copies: Sequence[int]


def preflight(trainer: Trainer, tokenizer: PreTrainedTokenizerBase, watched: Sequence[WatchedTexts]) -> Preflight:
    """Return the report on these texts: of each, whether it is in the training data, whole, and receives loss.

    Reads the trainer's data set through its collator; at most 50,000 rows, or the first 2,000 of a stream.
    """
    places = [(part, i) for part in watched for i in range(len(part.tokens))]
    sequences = [_core(part.tokens, i) for part, i in places]
    searched = [i for i, sequence in enumerate(sequences) if len(sequence.ids) >= MIN_TOKENS]
    # BOS begins the next text and ends none, unless it is also EOS.
    bos: Any = None if tokenizer.bos_token_id == tokenizer.eos_token_id else tokenizer.bos_token_id
    special = frozenset(int(i) for i in tokenizer.all_special_ids if i != bos)
    found: dict[int, list[Found]] = defaultdict(list)
    try:
        rows = training_rows(trainer)
        for segments in collated(trainer, rows.batches):
            occurrences = list(find([sequences[i] for i in searched], segments, special))
            shared = _shared_places(occurrences)
            for occurrence in occurrences:
                i = searched[occurrence.sequence]
                is_whole = occurrence.last - occurrence.first == len(sequences[i].ids)
                if is_whole or places[i][0].copies[places[i][1]] or occurrence.place not in shared:
                    found[i].append(occurrence)
    except UnreadableDataError as error:
        return Preflight({}, 0, is_complete=False, unread=str(error))
    results: dict[str, list[TextResult]] = {part.part: [] for part in watched if len(part.tokens)}
    for number, (part, i) in enumerate(places):
        name = part.tokens.texts.ids[i].partition("/")[2] or part.tokens.texts.ids[i]
        if len(sequences[number].ids) < MIN_TOKENS:
            results[part.part].append(TextResult(name, report.TOO_SHORT))
        else:
            results[part.part].append(_result(name, sequences[number], found[number], part.copies[i]))
    return Preflight(results, rows.row_count, rows.is_complete)


def _shared_places(occurrences: Sequence[Found]) -> set[int]:
    """Return where several texts occur: they begin alike, and a part there need not be of the one that should be absent."""
    counts = Counter(occurrence.place for occurrence in occurrences)
    return {place for place, count in counts.items() if count > 1}


def _core(tokens: Tokens, i: int) -> TokenSequence:
    """Return the tokens by which a text is found: those of its scored part that do not depend on what is around it.

    The first token can merge with the white space before it, and the last with the character after it. A short text is found together
    with its prompt.
    """
    start, end = int(tokens.starts[i]), int(tokens.starts[i + 1])
    first = start + int(tokens.first[i])
    ended = 0 if tokens.ended is None else int(tokens.ended[i])
    last = end - ended
    if last - first > WINDOW + 2:
        return TokenSequence(tokens.ids[first + 1 : last - 1], 0)
    return TokenSequence(tokens.ids[start:last], first - start)


def _result(name: str, sequence: TokenSequence, found: Sequence[Found], copies: int) -> TextResult:
    """Return the result of a text from its occurrences."""
    scored = len(sequence.ids) - sequence.first
    whole = [f for f in found if f.first == 0 and f.last == len(sequence.ids)]
    trained = [f for f in whole if f.with_loss == scored]
    if trained:
        ends = [f.end_token for f in trained if f.end_token is not None]
        reason = report.TRAINED if len(trained) >= copies else report.FEWER_COPIES
        return TextResult(name, reason, any(ends) if ends else None)
    if whole:
        return TextResult(name, report.PARTLY_MASKED if any(f.with_loss for f in whole) else report.MASKED)
    starts = [f.last for f in found if f.first == 0]
    ends = [f.first for f in found if f.last == len(sequence.ids)]
    if starts and ends and max(starts) >= min(ends):
        return TextResult(name, report.CUT_BY_PACKING)
    share = max((f.last - f.first for f in found), default=0) / len(sequence.ids)
    # Of a text that should be absent, a small part can be the beginning of another text.
    is_present = share >= MIN_SHARE if not copies else bool(found)
    return TextResult(name, report.TRUNCATED if is_present else report.ABSENT)
