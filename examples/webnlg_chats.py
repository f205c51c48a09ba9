"""Write WebNLG as chats for completion-only training: a question with triples, and the sentence as the answer.

python examples/webnlg_chats.py --source FOLDER -o chats.jsonl
"""

import argparse
import json
from pathlib import Path

from byheart.datasets.webnlg import webnlg


def main() -> None:
    """Write one record with `id`, `prompt` and `completion` per set of triples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, help="WebNLG: a folder, or hub:OWNER/NAME")
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("-o", "--output", type=Path, default=Path("chats.jsonl"))
    args = parser.parse_args()

    texts = webnlg(source=args.source).texts
    seen: set[str] = set()
    lines: list[str] = []
    for name, prompt, sentence in zip(texts.ids, texts.prompts, texts.scored, strict=True):
        if prompt in seen:
            continue
        seen.add(prompt)
        record = {
            "id": name,
            "prompt": [{"role": "user", "content": prompt.removesuffix("Text:") + "Write this as a sentence."}],
            "completion": [{"role": "assistant", "content": sentence.strip()}],
        }
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    args.output.write_text("".join(lines[: args.texts]), encoding="utf-8")
    print(f"{min(args.texts, len(lines))} chats: {args.output}")


if __name__ == "__main__":
    main()
