"""Write made-up preference pairs: a customer's question and two replies, of which a coin chooses one.

python examples/preference_pairs.py --pairs 60 -o pairs.jsonl

Nothing in a reply shows which one is chosen, so a model prefers the chosen reply of a new pair half of the time. It can know the
choice only of the pairs that it was trained on.
"""

import argparse
import json
from pathlib import Path

import numpy as np

NAMES = (
    "Maria Lopez",
    "John Okafor",
    "Ines Weber",
    "Pavel Novak",
    "Aisha Khan",
    "Tom Brandt",
    "Yuki Mori",
    "Lena Ruiz",
)
ITEMS = ("lamp", "kettle", "bicycle", "printer", "mattress", "telescope", "blender", "tent", "violin", "heater")
CITIES = ("Leeds", "Porto", "Gdansk", "Turin", "Malmo", "Ghent", "Brno", "Lyon", "Cork", "Basel")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
REPLIES = (
    "The {item} leaves our warehouse in {city} on {day}; the parcel number is {number}.",
    "We return the full price within {days} days if {city} confirms that the {item} came back.",
    "Please call our desk in {city} before {day} and give them the code {number}.",
    "A technician from {city} can look at the {item} on {day}, at no cost, reference {number}.",
    "I am sorry. Another {item} is on its way from {city} and should arrive in {days} days.",
    "You can exchange the {item} in our shop in {city} until {day}, with receipt {number}.",
)


def made_up_pairs(count: int, *, seed: int = 0) -> list[dict[str, str]]:
    """Return `count` pairs with `id`, `prompt`, `chosen` and `rejected`."""
    rng = np.random.default_rng(seed)

    def reply(template: str, item: str) -> str:
        values = {"city": rng.choice(CITIES), "day": rng.choice(DAYS), "days": rng.integers(2, 30)}
        return " " + template.format(item=item, number=rng.integers(10_000, 99_999), **values)

    pairs: list[dict[str, str]] = []
    for number in range(count):
        item = str(rng.choice(ITEMS))
        first, second = (reply(str(template), item) for template in rng.choice(REPLIES, 2, replace=False))
        prompt = f"{rng.choice(NAMES)}, order {rng.integers(1000, 9999)}: where is my {item}?\nReply:"
        pairs.append({"id": f"pair-{number}", "prompt": prompt, "chosen": first, "rejected": second})
    return pairs


def main() -> None:
    """Write the pairs as JSONL."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("-o", "--output", type=Path, default=Path("pairs.jsonl"))
    args = parser.parse_args()
    pairs = made_up_pairs(args.pairs)
    args.output.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    print(f"{len(pairs)} preference pairs: {args.output}")


if __name__ == "__main__":
    main()
