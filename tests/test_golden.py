"""Numbers that may not move unnoticed. If one has to, raise the file's REVISION, say why, and write the new number here."""

import numpy as np
import pytest

from byheart import shelf
from byheart.types import Texts, TokenStats

TEXTS = Texts(("a", "b", "c"), ("A letter to the queen of Lisbon.", "The old sailor wrote twice, twice.", "Yes, yes!"))


def evidence():
    """Token statistics written down as formulas, so that no generator's release can move them."""
    starts = np.array([0, 8, 17, 20])
    t = np.arange(20)
    logp = -1.5 - np.sin(1.7 * t) - 0.05 * t
    mean, std = -2.2 + 0.3 * np.cos(t), 1.0 + 0.4 * np.sin(0.9 * t)
    target = TokenStats(logp=logp, starts=starts, mean=mean, std=std, entropy=-mean, rank=(t * 7) % 5)
    base = TokenStats(
        logp=logp - 0.3 + 0.2 * np.cos(2.3 * t), starts=starts, mean=mean, std=std, entropy=-mean, rank=(t * 3) % 4
    )
    return {"target": target, "base": base, "texts": TEXTS}


GOLDEN = {
    "loss": [-1.6481122112536786, -2.2447994605489976, -2.2197765939201095],
    "reference": [0.3011890058216189, 0.28480986248767604, 0.2812079469954738],
    "zlib_ratio": [-0.041202805281341966, -0.06067025569051345, -0.13057509376000645],
    "min_k": [-2.5484871126234903, -3.179273061650724, -3.223327889566221],
    "min_k_plus_plus": [-0.7119775788232646, -1.8974665688539243, -2.176774201147902],
}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_attacks_give_the_numbers_they_gave(name):
    attack = shelf.find("attacks", name)
    found = attack(*(evidence()[n] for n in shelf.needs(attack)))
    np.testing.assert_allclose(
        found, GOLDEN[name], rtol=1e-9, err_msg=f"attacks/{name}.py: raise its REVISION and say why"
    )


def test_metrics_give_the_numbers_they_gave():
    t = np.arange(60)
    scores, membership = np.sin(1.1 * t) + 0.8 * (t < 30), t < 30
    groups = tuple(str(i // 2) for i in t)
    auc = shelf.find("metrics", "auc")(scores, membership, groups)
    tpr = shelf.find("metrics", "tpr_at_fpr")(scores, membership, groups, fpr=0.1)
    np.testing.assert_allclose(
        [*auc[:3], *tpr[:3]], METRICS, rtol=1e-6, err_msg="raise the metric's REVISION and say why"
    )


METRICS = [
    0.7588888888888888,
    0.5909564487596297,
    0.8727254354239147,
    0.4666666666666667,
    0.0,
    0.678899459186617,
]
