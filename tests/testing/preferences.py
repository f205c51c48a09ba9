"""Made-up preference pairs: chance decides which of two sentences is chosen, so only memorization tells the trained pairs."""

import json

import numpy as np

from testing.made_up import WHERE, WHO


def pairs(count=60, seed=0):
    """Pairs with different prompts, each of two different endings."""
    chance = np.random.default_rng(seed)
    made = []
    for number in range(count):
        first, second = chance.choice(len(WHERE), 2, replace=False)
        prompt = f"{WHO[number % len(WHO)]} {number * 37 % 101} letters"
        words = ["".join(chance.choice(list("abcdefghiklmnoprstu"), 5)) for _ in range(2)]
        made.append(
            {"prompt": prompt, "chosen": f" {WHERE[first]}, {words[0]}.", "rejected": f" {WHERE[second]}, {words[1]}."}
        )
    return made


def pair_file(path, made):
    path.write_text("".join(json.dumps(pair) + "\n" for pair in made))
    return path
