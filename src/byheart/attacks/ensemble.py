"""Ensemble: combines the scores of several attacks with a regression that is fitted on known texts.

Zichen Song, Sitan Huang, Zhongfeng Kang. EM-MIAs: Enhancing Membership Inference Attacks in Large Language Models
through Ensemble Modeling. 2024. arXiv 2412.17249.
Martin Bertran, Shuai Tang, Michael Kearns, Jamie Morgenstern, Aaron Roth, Zhiwei Steven Wu. Scalable Membership
Inference Attacks via Quantile Regression. NeurIPS, 2023. arXiv 2307.03694.

    logistic:  score(x) = ln P(member | f(x)) / P(non-member | f(x)),   f(x): the scores of the attacks in `of`
    quantile:  score(x) = (LL_target(x) - mu(g(x))) / sigma(g(x)),      g(x): features from the base model, and length

LL_target is the mean log-probability per token under the target model.

Logistic: a logistic regression with standardized features and scikit-learn's default regularization. It is fitted on
`data.known` members and non-members, which are not audited.

Quantile: Bertran et al. learn from non-members how a model scores a text that it was not trained on. They call x a member at
the false positive rate a if its score is above the (1 - a)-quantile. In their Gaussian variant the quantiles at all rates are
mu + sigma z, so the score is the z that x reaches. g(x) comes from the base model, because features from the target model would
depend on the text's membership: the scores of the attacks in `of` that need only one model, applied to the base model, and the
logarithm of the text's length. This needs no known members.

Departures from the authors' code:

- Song et al. fit boosted trees on four attacks' scores. Fifty known texts per class are too few for trees.
- Bertran et al. use neural networks and trees. Here mu and ln sigma are linear, fitted by maximum likelihood with a standard
  normal prior on each slope.

An attack that is fitted on the texts it is evaluated on reports leakage without members. `data.known` therefore sets known
texts apart, and a text's score does not depend on the other audited texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from annotated_types import MinLen, Predicate
from jaxtyping import Float

from byheart.attacks._known_texts import Features, KnownFeatures, log_odds, standardize
from byheart.core import DataError, Scores, SettingError, TokenStats, ragged
from byheart.core.registry import ContentIdentity, load_function, module_constant, needs

VARIANT = "linear models, in place of boosted trees and neural networks"

REVISION = 1
"""1: the quantile regression is fitted to convergence; before, its scores differed by .3 % between machines."""
KNOWN = 20
"""Minimum number of known texts per class for fitting: with fewer, the weights are mostly noise."""

DEFAULT_ATTACKS = ("loss", "reference", "min_k", "min_k_plus_plus", "wbc", "error_zone")


def _check_attack_names(names: tuple[str, ...]) -> bool:
    """Return True; raise `SettingError` for an attack that needs other evidence, or that is listed twice."""
    for name in names:
        unsupported = set(needs(load_function("attacks", name))) - {"target", "base"}
        if unsupported:
            raise SettingError(
                f"attacks ensemble: of: {name} needs {min(unsupported)}. List only attacks that need target and base."
            )
    if len(set(names)) < len(names):
        raise SettingError(f"attacks ensemble: of = {', '.join(names)} repeats an attack. List each attack once.")
    return True


def _attack_revisions(names: tuple[str, ...]) -> dict[str, int]:
    """Return the revision of each attack that has one."""
    revisions = {name: module_constant(load_function("attacks", name), "REVISION", 0) for name in names}
    return {name: revision for name, revision in revisions.items() if revision}


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
    """Log-odds (logistic) or standard deviations above a non-member (quantile), fitted on known texts; higher means member.

    Raises `DataError` for fewer than 20 known texts of a class that the regression is fitted on.
    """
    nonmember_evidence, audited_evidence = (
        {"target": known_nonmembers, "base": known_nonmembers_base},
        {"target": target, "base": base},
    )
    _check_known_count("non-members", known_nonmembers)
    if regression == "quantile":
        known_features, features = standardize(_base_features(nonmember_evidence["base"], of), _base_features(base, of))
        known_logprobs = ragged.means(known_nonmembers.logp, known_nonmembers.starts)
        return _quantile_scores(known_features, known_logprobs, features, ragged.means(target.logp, target.starts))
    _check_known_count("members", known_members)
    member_evidence = {"target": known_members, "base": known_members_base}
    known_features, features = standardize(
        np.vstack([_attack_scores(member_evidence, of), _attack_scores(nonmember_evidence, of)]),
        _attack_scores(audited_evidence, of),
    )
    return log_odds(known_features, np.arange(len(known_features)) < len(known_members), features)


def _check_known_count(subset: str, known: TokenStats) -> None:
    """Raise `DataError` for too few known texts of one class."""
    if len(known) < KNOWN:
        raise DataError(
            f"attacks ensemble: {len(known)} known {subset}, but the fit needs at least {KNOWN}. Set data.known to {KNOWN}, better 50."
        )


def _attack_scores(evidence: Mapping[str, TokenStats], attack_names: tuple[str, ...]) -> Features:
    """Return the scores of the attacks, one column per attack."""
    attacks = [load_function("attacks", name) for name in attack_names]
    return np.stack([attack(*(evidence[n] for n in needs(attack))) for attack in attacks], axis=1)


def _base_features(base: TokenStats, attack_names: tuple[str, ...]) -> Features:
    """Return features from the base model: scores of the attacks that need only one model, and the logarithm of the token count."""
    one_model_attacks = tuple(name for name in attack_names if needs(load_function("attacks", name)) == ("target",))
    length = np.log(ragged.lengths(base.starts))[:, None]
    return np.hstack([_attack_scores({"target": base}, one_model_attacks), length]) if one_model_attacks else length


def _quantile_scores(
    known_features: KnownFeatures,
    known_logprobs: Float[np.ndarray, " known"],
    features: Features,
    logprobs: Float[np.ndarray, " texts"],
) -> Scores:
    """Return how many standard deviations each text's log-probability is above that of a non-member with the same features."""
    from scipy.optimize import minimize

    center, spread = known_logprobs.mean(), known_logprobs.std() or 1.0
    standardized, ones = (known_logprobs - center) / spread, np.ones((len(known_features), 1))
    design, count = np.hstack([ones, known_features]), known_features.shape[1] + 1
    is_penalized = np.tile(np.arange(count) > 0, 2)

    def loss(weights: Float[np.ndarray, " weights"]) -> tuple[float, Float[np.ndarray, " weights"]]:
        scale = np.exp(-design @ weights[count:])
        z = (standardized - design @ weights[:count]) * scale
        slope = np.concatenate([-(z * scale) @ design, (1 - z**2) @ design])
        prior = weights * is_penalized
        return float((z**2 / 2 - np.log(scale)).sum() + prior @ prior / 2), slope + prior

    # If the base model determines the score exactly, as at epoch 0, the likelihood is maximal only at a scale of zero.
    bounds = [(None, None)] * count + [(np.log(1e-3), np.log(1e3))] + [(-1.0, 1.0)] * (count - 1)
    # SciPy's default tolerance stops early: the scores then differ by .3 % between machines.
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 15_000, "maxfun": 100_000}
    start = np.zeros(2 * count)
    weights = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    audited_design = np.hstack([np.ones((len(features), 1)), features])
    mean, log_scale = ((audited_design * part).sum(1) for part in np.split(weights, 2))
    # Clipped: a scale of e^5 already means that the text is unlike all known texts.
    return ((logprobs - center) / spread - mean) * np.exp(-np.clip(log_scale, -7.0, 5.0))
