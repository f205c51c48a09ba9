"""What a tokenizer adds to a text: BOS before it, an end token after it, and the chat template around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from byheart.core import chat_messages
from byheart.core.errors import DataError
from byheart.core.time_limit import LimitError, limited
from byheart.core.types import Texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_TEMPLATE_SECONDS = 10.0
"""Maximum time for one chat in a chat template, which is a program of the model's authors; usual ones take milliseconds."""
MAX_TEMPLATE_BYTES = 2 << 30
"""Maximum memory for one chat in a chat template."""


def bos_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids that the tokenizer puts before every text: a BOS token, or nothing."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return list(full[:start])
    return []


def chat_prompt(tokenizer: PreTrainedTokenizerBase, chat: Sequence[chat_messages.Message], *, location: str) -> str:
    """Return the text that the tokenizer's chat template puts before the content of the last (assistant) message.

    Raises `DataError` with `location` if the tokenizer has no chat template, or if the template rejects the chat or
    leaves out the message.
    """
    return _around_answer(tokenizer, chat, location)[0]


def _around_answer(
    tokenizer: PreTrainedTokenizerBase, chat: Sequence[chat_messages.Message], location: str
) -> tuple[str, str]:
    """Return what the chat template puts before and after the last message. Raises `DataError` as `chat_prompt` does."""
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise DataError(
            f"{location}: the tokenizer has no chat template for this chat. "
            "Set tokenizer.chat_template, or choose a model that has a chat template."
        )
    answer = chat_messages.assistant_text(chat[-1])
    try:
        with limited(seconds=MAX_TEMPLATE_SECONDS, memory_bytes=MAX_TEMPLATE_BYTES):
            rendered, generation_prompt = (
                _apply_chat_template(tokenizer, chat, add_generation_prompt=False),
                _apply_chat_template(tokenizer, chat[:-1], add_generation_prompt=True),
            )
    except (LimitError, MemoryError) as error:
        raise DataError(
            f"{location}: the tokenizer's chat template takes more than {MAX_TEMPLATE_SECONDS:g} seconds or "
            f"{MAX_TEMPLATE_BYTES >> 30} GiB for this chat. Use the template of the model's authors."
        ) from error
    except (
        TemplateError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise DataError(
            f"{location}: the tokenizer's chat template rejects this chat ({str(error)[:300]}). "
            "Change the chat to the roles and order that the template accepts."
        ) from error
    # Search after the generation prompt: a short answer may also occur in the template's own text.
    start = (
        rendered.find(answer, len(generation_prompt))
        if rendered.startswith(generation_prompt)
        else rendered.rfind(answer)
    )
    if start < 0:
        raise DataError(
            f"{location}: the tokenizer's chat template leaves out the assistant's message. "
            "Write the record as prompt and completion."
        )
    return rendered[:start], rendered[start + len(answer) :]


def _apply_chat_template(
    tokenizer: PreTrainedTokenizerBase, chat: Sequence[chat_messages.Message], *, add_generation_prompt: bool
) -> str:
    if not chat:
        return ""
    tools = chat[0].get(chat_messages.TOOLS)
    # Arrow writes null into every message if one message has a key; templates only ask whether the key exists.
    messages = [
        {n: v for n, v in t.items() if (v is not None or n == "content") and n != chat_messages.TOOLS} for t in chat
    ]
    rendered = str(
        tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            **({"tools": tools} if tools else {}),
        )
    )
    # `tokenize` adds the tokenizer's BOS; a BOS from the template would be a second one.
    return rendered.removeprefix(str(tokenizer.bos_token)) if tokenizer.bos_token_id in bos_ids(tokenizer) else rendered


def render_chats(tokenizer: PreTrainedTokenizerBase, texts: Texts) -> Texts:
    """Return the texts with chats rendered as prompts. Raises `DataError` as `chat_prompt` does."""
    if not any(texts.chats):
        return texts
    prompts = tuple(
        chat_prompt(tokenizer, chat_messages.decode_chat(chat), location=f"text {name!r}") if chat else prompt
        for name, prompt, chat in zip(texts.ids, texts.prompts, texts.chats, strict=True)
    )
    return Texts(texts.ids, texts.scored, prompts)


def end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id of the tokenizer's EOS. Raises `DataError` if it has none."""
    if tokenizer.eos_token_id is None:
        raise DataError(
            "data.end_token: the tokenizer has no EOS token. Set end_token to false, or choose another model."
        )
    return int(tokenizer.eos_token_id)


def chat_end_id(tokenizer: PreTrainedTokenizerBase, chat: Sequence[chat_messages.Message], *, location: str) -> int:
    """Return the id of the special token by which the chat template ends the last message; the EOS if it uses none.

    Raises `DataError` as `chat_prompt` and `end_id` do.
    """
    after = tokenizer(_around_answer(tokenizer, chat, location)[1], add_special_tokens=False)["input_ids"]
    return next((int(i) for i in after if i in tokenizer.all_special_ids), end_id(tokenizer))


def end_ids(tokenizer: PreTrainedTokenizerBase, texts: Texts) -> list[int]:
    """Return each text's end token: EOS, or for a chat that of its template. Raises `DataError` as `chat_end_id` does."""
    eos = end_id(tokenizer)
    return [
        chat_end_id(tokenizer, chat_messages.decode_chat(chat), location=f"text {name!r}") if chat else eos
        for name, chat in zip(texts.ids, texts.chats, strict=True)
    ]
