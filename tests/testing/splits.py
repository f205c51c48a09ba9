"""Made-up splits."""

import numpy as np

from byheart.core.split import Split
from byheart.core.types import Texts

WORDS = np.array([f"{a}{b}{c}" for a in "bdgklmnprst" for b in "aeiou" for c in ("n", "rt", "la", "sk", "st", "ve")])


def sentence(rng, *, count=None, topic=None):
    return " ".join(rng.choice(WORDS, count or int(rng.integers(10, 40)), p=topic)).capitalize() + "."


def split_of(members, nonmembers, member_groups=None, nonmember_groups=None):
    """Members are all of the training texts."""
    return Split(
        train=Texts(tuple(f"m{i}" for i in range(len(members))), tuple(members)),
        members=tuple(range(len(members))),
        nonmembers=Texts(tuple(f"n{i}" for i in range(len(nonmembers))), tuple(nonmembers)),
        validation=Texts((), ()),
        member_groups=tuple(member_groups or (f"m{i}" for i in range(len(members)))),
        nonmember_groups=tuple(nonmember_groups or (f"n{i}" for i in range(len(nonmembers)))),
        counts={},
    )


def fair(rng, count=80, *, largest=1):
    """Both classes from one source; each group has its own topic and length."""
    sides, groups = [], []
    for side in "mn":
        texts, own = [], []
        while len(texts) < count:
            topic, length = rng.dirichlet(np.full(len(WORDS), 0.1)), int(rng.integers(8, 40))
            # Members are sampled from more texts than non-members, so their groups are divided into smaller parts.
            size = int(rng.integers(1, largest + 1)) if side == "n" else 1
            drawn = [sentence(rng, count=length, topic=topic) for _ in range(size)][: count - len(texts)]
            own += [f"{side}{len(texts)}"] * len(drawn)
            texts += drawn
        sides.append(texts)
        groups.append(own)
    return split_of(*sides, *groups)
