"""Golden numbers. To change one, raise the file's REVISION, give the reason, and write the new number here."""

import dataclasses

import numpy as np
import pytest

from byheart.core import registry
from byheart.core.evidence import (
    ContrastiveSamples,
    Frequencies,
    Generations,
    GradientAlignment,
    Gradients,
    GreedyContinuation,
    SamplingLogProbs,
    Shadows,
    SyntheticTexts,
    Variants,
)
from byheart.core.types import Extraction, LogProbs, Texts, TokenStats

TEXTS = Texts(("a", "b", "c"), ("A letter to the queen of Lisbon.", "The old sailor wrote twice, twice.", "Yes, yes!"))


def evidence():
    """Token statistics by formulas, so that no release of a random generator changes them."""
    starts = np.array([0, 8, 17, 20])
    t = np.arange(20)
    logp = -1.5 - np.sin(1.7 * t) - 0.05 * t
    mean, std = -2.2 + 0.3 * np.cos(t), 1.0 + 0.4 * np.sin(0.9 * t)
    target = TokenStats(logp=logp, starts=starts, mean=mean, std=std, entropy=-mean, rank=(t * 7) % 5)
    base = TokenStats(
        logp=logp - 0.3 + 0.2 * np.cos(2.3 * t), starts=starts, mean=mean, std=std, entropy=-mean, rank=(t * 3) % 4
    )
    found = {"target": target, "base": base, "texts": TEXTS, **known(), **others(target, base)}
    return {**found, **by_epoch(found)}


def by_epoch(found):
    """The path of each kind of texts: the base model, a model between, and the target."""
    pairs = {"target": "base", **{n: f"{n}_base" for n in ("known_members", "known_nonmembers")}}
    between = {
        n: dataclasses.replace(found[n], logp=0.3 * found[n].logp + 0.7 * found[b].logp + 0.02 * np.cos(found[b].logp))
        for n, b in pairs.items()
    }
    return {f"{n}_by_epoch": (found[b], between[n], found[n]) for n, b in pairs.items()}


def known():
    """Known texts: 20 per class, the minimum of an ensemble, of 6 to 12 tokens."""
    found = {}
    for shift, side in enumerate(("known_members", "known_nonmembers")):
        starts = np.concatenate(([0], np.cumsum(6 + np.arange(20) * 5 % 7)))
        t = np.arange(starts[-1]) + 100 * shift
        for name, less in ((side, 0.2 * shift), (f"{side}_base", 0.3), (f"{side}_repeated", -1.0)):
            logp = -1.8 - less + 0.1 * np.cos(2.1 * t) * (less != 0.3) - np.sin(1.3 * t) * np.cos(0.01 * t * t) * 0.7
            mean, std = -2.1 + 0.4 * np.cos(1.1 * t), 1.1 + 0.3 * np.sin(0.7 * t)
            rank = (t * 11) % 6
            found[name] = TokenStats(
                logp=np.minimum(logp, -0.05), starts=starts, mean=mean, std=std, entropy=-mean, rank=rank
            )
    return found


def others(target, base):
    """Every other kind of evidence of the same three texts."""
    t, logp, starts = np.arange(20), target.logp, target.starts
    later = {n: LogProbs(logp=logp + x, starts=starts) for n, x in (("nonmember_prefix", -0.4), ("member_prefix", 0.1))}
    lowered = np.array([0, 9, 17, 22])
    near, probes = np.array([0, 3, 4, 9]), 2 * np.arange(4)
    inside = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]]) > 0
    shadows = base.logp + 0.1 * np.cos(t + np.arange(4)[:, None]) + 0.2 * np.repeat(inside, np.diff(starts), axis=1)
    outside = known()["known_nonmembers"]
    return {
        **later,
        "rejected": LogProbs(logp=-1.7 - 0.5 * np.sin(1.1 * t), starts=starts),
        "rejected_base": LogProbs(logp=-1.6 - 0.4 * np.cos(0.7 * t), starts=starts),
        "lowercased": LogProbs(logp=-1.9 - np.cos(0.8 * np.arange(22)), starts=lowered),
        "repeated": LogProbs(logp=logp / 4 - 0.02 * t, starts=starts),
        "frequencies": Frequencies(frequency=10.0 ** -(2 + t % 4), first=t % 5 != 4, starts=starts),
        "neighbours": Variants(loglik=-2.0 - 0.1 * np.arange(9), starts=near),
        "neighbours_base": Variants(loglik=-2.1 - 0.12 * np.arange(9), starts=near),
        "neighbours_self_prompted": Variants(loglik=-2.05 - 0.11 * np.arange(9), starts=near),
        "self_prompted": LogProbs(logp=logp - 0.2 + 0.1 * np.cos(1.9 * t), starts=starts),
        "after_masked": Variants(loglik=-1.5 - 0.1 * np.arange(6), starts=probes),
        "after_similar": Variants(loglik=-1.9 + 0.1 * np.arange(6), starts=probes),
        "alignment": GradientAlignment(cosine=np.array([0.03, -0.4, 0.0])),
        "gradients": Gradients(norm=np.array([0.5, 2.0, 1.25])),
        "initial_alignment": GradientAlignment(cosine=np.array([0.2, 0.05, -0.125])),
        "continuations": Generations(
            written=("the queen of", "a queen, a king", "wrote twice", "", "yes!", "no, yes, yes!"),
            rest=("the queen of Lisbon.", "twice, twice.", "yes, yes!"),
            starts=probes,
        ),
        "synthetic_texts": SyntheticTexts(
            generated=("A letter to the old queen.", "He wrote, twice.", "Yes, to the queen!")
        ),
        "synthetic_texts_base": SyntheticTexts(generated=("The sailor wrote.", "A queen of Lisbon")),
        "contrastive_samples": ContrastiveSamples(
            written=("The queen of Lisbon.",),
            run=np.array([5, 9, 1]),
            length=np.array([8, 9, 3]),
            similarity=np.array([0.4, 0.9, 0.25]),
        ),
        "greedy_continuation": GreedyContinuation(
            true=t * 3 % 7,
            starts=starts,
            written=np.where(t % 6 == 5, 9, t * 3 % 7)[:19],
            written_starts=np.array([0, 8, 16, 19]),
        ),
        "mismatched_continuation": GreedyContinuation(
            true=t * 3 % 7, starts=starts, written=np.where(t % 3 == 2, 9, t * 3 % 7), written_starts=starts
        ),
        "sampling_logprobs": SamplingLogProbs(logp=logp / 20, starts=starts),
        "shadows": Shadows(
            logp=shadows,
            starts=starts,
            inside=inside,
            population_logp=outside.logp - 0.25 * np.cos(0.9 * np.arange(len(outside.logp)) + np.arange(4)[:, None]),
            population_starts=outside.starts,
        ),
    }


GOLDEN = {
    "approximate": [0.5946035575013605, 0.44124845129229767, 0.0],
    "approximate varied": [0.875, 0.7777777777777778, 0.0],
    "attributable": [0.375, 0.3333333333333333, 0.0],
    "camia": [-0.45714285714285713, -0.7365079365079363, -0.7174603174603174],
    "camia varied": [50.03713095339908, 20.60780153244698, 19.97568859178507],
    "con_recall": [0.7730396613333117, 0.7004633411173156, 0.7027231034116381],
    "con_recall varied": [0.3033774014814574, 0.22273704568590635, 0.22524789267959802],
    "dc_pdd": [0.01, 0.01, 0.01],
    "dc_pdd varied": [2.2767044608819886, 1.0593546321472131, 1.4571250386052228],
    "discoverable": [0.625, 0.3333333333333333, 0.0],
    "ensemble": [2.8870246792852052, -2.185134178099382, -2.491342814801377],
    "ensemble varied": [5.16884576350985, 10.728248654235692, 22.38180326],
    "error_zone": [0.5454466591146283, 0.48469511649345204, 0.36339894722791216],
    "extractable": [0.625, 1.0, 0.3333333333333333],
    "extractable varied": [0.4, 0.9, 0.25],
    "grad_norm": [-0.5, -2.0, -1.25],
    "gradient_alignment": [0.03, -0.4, 0.0],
    "gradient_alignment_initial": [0.2, 0.05, -0.125],
    "exact_memorization": [0.25, 0.2222222222222222, 0.0],
    "extraction_strength": [0.0, 0.0, 0.0],
    "hard_tokens": [0.0, 1.0, 0.0],
    "hard_tokens varied": [0.75, 0.75, 0.0],
    "icp": [-0.14811221125367857, -0.5447994605489976, -0.3197765939201096],
    "icp_similar": [0.15188778874632125, -0.6447994605489977, -0.8197765939201096],
    "info_rmia": [0.19627545744871355, 0.18489550545782926, 0.15026287433126342],
    "info_rmia varied": [-0.8313331365613945, -1.3328935313146555, -1.318274481246988],
    "lira": [77.99113522866031, 66.4090308477637, 43.994817799487755],
    "lira varied": [18.63595182000103, 11.124349123465194, 8.17491802285847],
    "lira_sequence": [294.3697713204121, 421.5609738477361, 40.45679690625075],
    "loss": [-1.6481122112536786, -2.2447994605489976, -2.2197765939201095],
    "lowercase": [1.2293138733748712, 0.8534046031188223, 0.6721227357677098],
    "min_k": [-2.5484871126234903, -3.179273061650724, -3.223327889566221],
    "min_k_plus_plus": [-0.7119775788232646, -1.8974665688539243, -2.176774201147902],
    "min_k_plus_plus_calibrated": [0.3338966678564962, 0.7508318867860824, 0.17797000830645437],
    "neighbourhood": [0.4518877887463215, 0.05520053945100223, 0.3802234060798906],
    "probabilistic": [0.5172417643360705, 0.36416079759764375, 0.7167942141810519],
    "ramia": [0.2205945029108093, 0.28480986248767604, 0.26040264899849125],
    "ramia varied": [0.1652972514554047, 0.2224049312438381, 0.2302013244992457],
    "recall": [1.2427019211851658, 1.1781896365487248, 1.1801983141436783],
    "reference": [0.3011890058216189, 0.28480986248767604, 0.2812079469954738],
    "reference_self_prompted": [0.18611520960626637, 0.2072364266273654, 0.2110357770521749],
    "reward_margin": [4.102760382124158, 2.9077347586267805, 0.908238339440766],
    "rmia": [1.0, 1.0, 1.0],
    "rmia varied": [0.4, 0.0, 0.0],
    "samia": [0.375, 0.0, 0.75],
    "samia varied": [7.5, 0.0, 11.5],
    "spv": [0.03630537749733592, 0.011434745089037968, 0.012078508703716337],
    "spv_self_prompted": [0.025601715509420503, 0.012122437733694771, 0.01299427778693757],
    "surp": [-2.5484871126234903, -3.179273061650724, -3.223327889566221],
    "surp varied": [-2.0208324052262343, -3.099792900142669, -3.223327889566221],
    "synthetic_ngram": [-1.9519084112575977, -2.2638860285216076, -2.2154083994216567],
    "synthetic_ngram varied": [-2.5091779407587715, -2.532853661863297, -2.4849066497880004],
    "synthetic_ngram_calibrated": [0.22886540073378248, -0.0323593357401597, 0.28176484362828],
    "synthetic_ngram_calibrated varied": [-0.07754366766312204, 0.04731214992376964, 0.4418327522790393],
    "synthetic_similarity": [0.3333333333333333, 0.22685185185185186, 0.08333333333333333],
    "synthetic_similarity varied": [0.375, 0.16666666666666666, 0.0],
    "synthetic_similarity_calibrated": [0.15873015873015872, -0.0222222222222222, 0.125],
    "synthetic_similarity_calibrated varied": [0.0892857142857143, 0.0, 0.0],
    "trajectory": [3.3108177440224247, 2.5918764005517967, 2.456193278676204],
    "wbc": [0.6676190476190476, 0.41428571428571426, 0.25],
    "wel": [0.33848010379334814, 0.45114305159472373, 0.44804180107989655],
    "wel varied": [0.4281303879914356, 0.4549662744486669, 0.281462775927994],
    "zlib_ratio": [-0.041202805281341966, -0.06067025569051345, -0.13057509376000645],
    "zlib_ratio varied": [-0.3296224422507357, -0.546032301214621, -0.3917252812800193],
}


VARIANTS = {
    "zlib_ratio": {"total": True},
    "camia": {"combine": "fisher", "cuts": (4,)},
    "con_recall": {"gamma": 1.0},
    "dc_pdd": {"ceiling": 5.0},
    "surp": {"k": 0.5, "max_entropy": 2.1},
    "wel": {"difficulty": "base", "bins": 4},
    "ensemble": {"regression": "quantile"},
    "samia": {"compressed": True},
    "approximate": {"by": "edit"},
    "extractable": {"by": "near"},
    "lira": {"mode": "offline", "variance": "text"},
    "rmia": {"mode": "offline", "gamma": 1.1},
    "info_rmia": {"unit": "text", "mode": "offline"},
    "hard_tokens": {"hard_for": "base", "k": 0.5},
    "ramia": {"trim": 0.0},
    "synthetic_ngram": {"n": 1},
    "synthetic_ngram_calibrated": {"n": 1},
    "synthetic_similarity": {"k": 1, "n": 2},
    "synthetic_similarity_calibrated": {"k": 1, "n": 2},
}
"""Settings that take another way through an attack."""


SHAKEN = ("error_zone", "hard_tokens", "hard_tokens varied", "wbc", "rmia varied")
"""With the evidence above these say 1 of every text: here target and base differ more, to either side."""


def test_every_attack_has_golden_numbers():
    assert set(GOLDEN) == {*registry.entry_names("attacks"), *(f"{name} varied" for name in VARIANTS)}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_attacks_return_the_golden_numbers(name):
    attack = registry.load_function("attacks", name.removesuffix(" varied"))
    settings = VARIANTS[name.removesuffix(" varied")] if name.endswith(" varied") else {}
    given = evidence()
    if name in SHAKEN:
        shaken = given["target"].logp + 0.4 * np.sin(2.9 * np.arange(20))
        given["target"] = dataclasses.replace(given["target"], logp=np.minimum(shaken, -0.01) - 0.3)
    found = attack(*(given[n] for n in registry.needs(attack)), **settings)
    found = found.scores if isinstance(found, Extraction) else found
    # Fitted weights come from an iterative solver: the last digits depend on the libraries.
    near = 1e-3 if name.split()[0] in {"ensemble", "trajectory"} else 1e-9
    np.testing.assert_allclose(
        found, GOLDEN[name], rtol=near, err_msg=f"attacks/{name}.py: raise its REVISION and say why"
    )


def test_metrics_return_the_golden_numbers():
    t = np.arange(60)
    scores, membership = np.sin(1.1 * t) + 0.8 * (t < 30), t < 30
    groups = tuple(str(i // 2) for i in t)
    auc = registry.load_function("metrics", "auc")(scores, membership, groups)
    tpr = registry.load_function("metrics", "tpr_at_fpr")(scores, membership, groups, fpr=0.1)
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
