"""Ensemble: what several attacks say together, weighed by someone who knows some texts of either side.

Zichen Song, Sitan Huang, Zhongfeng Kang. EM-MIAs: Enhancing Membership Inference Attacks in Large Language Models
through Ensemble Modeling. 2024. arXiv 2412.17249.
Martin Bertran, Shuai Tang, Michael Kearns, Jamie Morgenstern, Aaron Roth, Zhiwei Steven Wu. Scalable Membership
Inference Attacks via Quantile Regression. NeurIPS, 2023. arXiv 2307.03694.

    logistic:  score(x) = ln P(member | f(x)) / P(non-member | f(x)),   f(x): the scores of the attacks in `of`
    quantile:  score(x) = (LL_target(x) - mu(g(x))) / sigma(g(x)),      g(x): what the base says of x, and its length

Logistic. Song et al. fit boosted trees on four attacks' scores; fifty known texts a side carry no trees, so ours is
logistic regression, features standardised and weights shrunk as scikit-learn does unless told otherwise. It is fitted on
`data.known` texts of both sides, none of which is audited.

Quantile. Bertran et al. learn, from non-members alone, how a model scores a text that it was not trained on, given the
text: x is accused at the false positive rate a where its score is above the (1 - a)-quantile. Ours is their Gaussian
variant, whose quantiles at all rates are mu + sigma z: the score is the z that x exceeds. In place of their networks and
trees mu and ln sigma are linear, fitted by maximum likelihood and shrunk (a standard normal prior on each slope). What
they depend on comes from the base, as the target would tell of the text's membership: the attacks of `of` that need one
model only, asked of the base, and the logarithm of the text's length. It needs no known member.

An attack that is fitted on what it is reported on finds members where there are none: known texts are set apart by
`data.known`, and a text's score is the same whoever else is audited.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from annotated_types import MinLen, Predicate
from jaxtyping import Bool, Float

from byheart.core import DataError, Scores, SettingError, TokenStats, ragged
from byheart.core.registry import ContentIdentity, load_function, module_constant, needs

REVISION = 1
"""1: the quantile regression is fitted until it converges; before, its scores differed by .3 % between machines."""
KNOWN = 20
"""The fewest known texts of a side that are fitted on: with less, chance weighs the attacks."""

Features = Float[np.ndarray, "texts features"]
KnownFeatures = Float[np.ndarray, "known features"]


DEFAULT_ATTACKS = ("loss", "reference", "min_k", "min_k_plus_plus", "wbc", "error_zone")


def _check_attack_names(names: tuple[str, ...]) -> bool:
    """Return True; raise `SettingError` for an attack that needs other evidence, or is there twice."""
    for name in names:
        others = set(needs(load_function("attacks", name))) - {"target", "base"}
        if others:
            raise SettingError(
                f"attacks ensemble: of: {name} needs {min(others)}; write attacks on target and base alone"
            )
    if len(set(names)) < len(names):
        raise SettingError(f"attacks ensemble: of = {', '.join(names)}: write each attack once")
    return True


def _attack_revisions(names: tuple[str, ...]) -> dict[str, int]:
    """Return which of the attacks have other numbers than they once had."""
    told = {name: module_constant(load_function("attacks", name), "REVISION", 0) for name in names}
    return {name: revision for name, revision in told.items() if revision}


def ensemble(
    target: TokenStats,
    base: TokenStats,
    known_members: TokenStats,
    known_members_base: TokenStats,
    known_nonmembers: TokenStats,
    known_nonmembers_base: TokenStats,
    *,
    of: Annotated[
        tuple[str, ...], MinLen(1), Predicate(_check_attack_names), ContentIdentity(_attack_revisions)
    ] = DEFAULT_ATTACKS,
    regression: Literal["logistic", "quantile"] = "logistic",
) -> Scores:
    """Log-odds (logistic) or standard deviations above a non-member (quantile), fitted on known texts; higher is member.

    Raises `DataError` where fewer than 20 known texts of a side that is fitted on are there.
    """
    outside, asked = ({"target": known_nonmembers, "base": known_nonmembers_base}, {"target": target, "base": base})
    _check_known_count("non-members", known_nonmembers)
    if regression == "quantile":
        fitted, wanted = _standardize(_base_features(outside["base"], of), _base_features(base, of))
        told = ragged.means(known_nonmembers.logp, known_nonmembers.starts)
        return _quantile_scores(fitted, told, wanted, ragged.means(target.logp, target.starts))
    _check_known_count("members", known_members)
    inside = {"target": known_members, "base": known_members_base}
    fitted, wanted = _standardize(
        np.vstack([_attack_scores(inside, of), _attack_scores(outside, of)]), _attack_scores(asked, of)
    )
    return _log_odds(fitted, np.arange(len(fitted)) < len(known_members), wanted)


def _check_known_count(subset: str, known: TokenStats) -> None:
    if len(known) < KNOWN:
        raise DataError(
            f"attacks ensemble is fitted on {KNOWN} known {subset} or more; there are {len(known)}: set data.known to {KNOWN}, better 50"
        )


def _attack_scores(evidence: Mapping[str, TokenStats], attack_names: tuple[str, ...]) -> Features:
    """Return each attack's scores, a column each."""
    attacks = [load_function("attacks", name) for name in attack_names]
    return np.stack([attack(*(evidence[n] for n in needs(attack))) for attack in attacks], axis=1)


def _base_features(base: TokenStats, attack_names: tuple[str, ...]) -> Features:
    """Return what the base alone says of each text: the attacks that need one model, asked of it; and ln of the tokens."""
    alone = tuple(name for name in attack_names if needs(load_function("attacks", name)) == ("target",))
    length = np.log(ragged.lengths(base.starts))[:, None]
    return np.hstack([_attack_scores({"target": base}, alone), length]) if alone else length


def _standardize(known_features: KnownFeatures, features: Features) -> tuple[KnownFeatures, Features]:
    """Return both in standard deviations from the mean of the first; a column that does not vary there says nothing."""
    mean, spread = known_features.mean(0), known_features.std(0)
    varying = spread > 1e-9 * np.maximum(np.abs(mean), 1e-9)
    scale = np.where(varying, spread, 1.0)
    return (known_features - mean) / scale * varying, (features - mean) / scale * varying


def _log_odds(known_features: KnownFeatures, is_member: Bool[np.ndarray, " known"], features: Features) -> Scores:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1000).fit(known_features, is_member)
    # Not scikit-learn's own product: in that, the number of texts shows in a text's last bit.
    return (features * model.coef_[0]).sum(1) + model.intercept_[0]


def _quantile_scores(
    known_features: KnownFeatures,
    known_logprobs: Float[np.ndarray, " known"],
    features: Features,
    logprobs: Float[np.ndarray, " texts"],
) -> Scores:
    """Return how many standard deviations above a non-member's each text's log-probability is, given its features."""
    from scipy.optimize import minimize

    centre, spread = known_logprobs.mean(), known_logprobs.std() or 1.0
    known, ones = (known_logprobs - centre) / spread, np.ones((len(known_features), 1))
    design, count = np.hstack([ones, known_features]), known_features.shape[1] + 1
    shrunk = np.tile(np.arange(count) > 0, 2)

    def loss(weights: Float[np.ndarray, " weights"]) -> tuple[float, Float[np.ndarray, " weights"]]:
        scale = np.exp(-design @ weights[count:])
        z = (known - design @ weights[:count]) * scale
        slope = np.concatenate([-(z * scale) @ design, (1 - z**2) @ design])
        prior = weights * shrunk
        return float((z**2 / 2 - np.log(scale)).sum() + prior @ prior / 2), slope + prior

    # Where the base tells the score exactly, as at epoch 0, the likelihood has no maximum but at a scale of zero.
    bounds = [(None, None)] * count + [(np.log(1e-3), np.log(1e3))] + [(-1.0, 1.0)] * (count - 1)
    # SciPy's default tolerance stops early: the scores then differ by .3 % between machines.
    tight = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 15_000, "maxfun": 100_000}
    start = np.zeros(2 * count)
    weights = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=tight).x
    wide = np.hstack([np.ones((len(features), 1)), features])
    mean, log_scale = ((wide * part).sum(1) for part in np.split(weights, 2))
    # What lies beyond the known texts is not told apart further: a scale of e^5 says the text is like none of them.
    return ((logprobs - centre) / spread - mean) * np.exp(-np.clip(log_scale, -7.0, 5.0))
