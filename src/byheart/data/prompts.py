"""Check that texts have prompts, for measurements that complete a prompt or read it."""

from __future__ import annotations

from byheart.core.errors import DataError
from byheart.core.types import Texts


def check_has_prompts(texts: Texts, requester: str) -> None:
    """Raise `DataError` if a text has no prompt."""
    without = [name for name, prompt in zip(texts.ids, texts.prompts, strict=True) if not prompt]
    if without:
        raise DataError(
            f"{requester}: requires prompts, but {len(without)} of {len(texts)} validation texts have none (for example "
            f"{without[0]!r}). Use a data set of prompts and completions (webnlg, xsum), or name the fields with "
            "files: {path: ..., prompt: ..., completion: ...}."
        )
