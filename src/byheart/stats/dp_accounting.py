"""Privacy accounting of DP-SGD: noise from a target epsilon, and epsilon from noise, sampling rate and steps.

DP-SGD ("Deep Learning with Differential Privacy", Abadi et al., CCS 2016, arXiv 1607.00133): each step samples each training
text independently with the same probability, clips its gradient, and adds Gaussian noise to the sum. Neighboring data sets
differ by the addition or removal of one text. The accountant is opacus's PRV accountant (privacy loss random variables,
Gopi et al., NeurIPS 2021, arXiv 2106.02848), of which the upper bound is reported. For large epsilon, which protects nothing,
the Rényi accountant (Mironov et al., 2019, arXiv 1908.10530) replaces it, because the PRV accountant needs minutes and
gigabytes there.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from dataclasses import dataclass
from importlib.util import find_spec

from byheart.core.config import Privacy, Training
from byheart.core.errors import SettingError
from byheart.core.registry import Choice, module_constant

MAX_PRV_EPSILON = 40.0
"""Epsilon of the Rényi accountant above which the tighter PRV accountant is not run."""


@dataclass(frozen=True)
class DpSgdParameters:
    """Noise and sampling of DP-SGD: each of an epoch's `steps` samples each text with probability `rate`.

    `noise_multiplier` is the standard deviation of the noise in units of `clip`, the maximum norm of one text's gradient.
    """

    noise_multiplier: float
    clip: float
    delta: float
    rate: float
    steps: int

    def epsilon(self, epochs: float) -> float:
        """Epsilon spent after this many epochs, an upper bound at `delta`; lower is more private. 0 before training.

        A fraction of an epoch is rounded to whole steps, at least one.
        """
        if not epochs:
            return 0.0
        return _spent_epsilon(self.noise_multiplier, self.rate, max(1, round(self.steps * epochs)), self.delta)


def privacy_settings(method: Choice) -> Privacy | None:
    """Return the privacy settings of a method; None if its file does not set PRIVATE."""
    if not module_constant(method.function, "PRIVATE", default=False):
        return None
    return Privacy(**{f.name: method.settings[f.name] for f in dataclasses.fields(Privacy)})


def dp_sgd_parameters(privacy: Privacy, texts: int, training: Training) -> DpSgdParameters:
    """Return the DP-SGD parameters that guarantee `privacy` for this many training texts; needs opacus but no model.

    Raises `SettingError` as `target_delta` does, and for an epsilon that no noise multiplier reaches.
    """
    delta = target_delta(privacy, texts)
    rate = min(1.0, training.batch_size / texts)
    steps = math.ceil(texts / training.batch_size)
    noise = privacy.noise_multiplier or _least_noise_multiplier(
        privacy.epsilon or 0.0, rate, steps * training.epochs, delta
    )
    return DpSgdParameters(noise, privacy.clip, delta, rate, steps)


def target_delta(privacy: Privacy, texts: int) -> float:
    """Return the delta for this many training texts: `privacy.delta`, or n to the power of -1.1.

    Raises `SettingError` unless exactly one of epsilon and noise_multiplier is set, and for a delta of at least 1 / n.
    Does not need opacus.
    """
    if (privacy.epsilon is None) == (privacy.noise_multiplier is None):
        raise SettingError(
            f"epsilon = {privacy.epsilon} and noise_multiplier = {privacy.noise_multiplier}: exactly one must set the noise. "
            "Write a number for one and null for the other."
        )
    delta = texts**-1.1 if privacy.delta is None else privacy.delta
    if delta >= 1 / texts:
        raise SettingError(
            f"delta = {delta:g}: publishing one of {texts} training texts would satisfy this guarantee. "
            f"Write less than {1 / texts:.2g}, or null."
        )
    return delta


@functools.cache
def _least_noise_multiplier(epsilon: float, rate: float, steps: int, delta: float) -> float:
    """Return the smallest noise multiplier (to 0.01 of epsilon) that spends at most epsilon."""
    from opacus.accountants.utils import get_noise_multiplier

    accountant = "prv" if epsilon <= MAX_PRV_EPSILON / 2 else "rdp"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return get_noise_multiplier(
                target_epsilon=epsilon, target_delta=delta, sample_rate=rate, steps=steps, accountant=accountant
            )
    except ValueError as error:
        raise SettingError(
            f"epsilon = {epsilon:g}: no noise is enough for {steps} steps at delta = {delta:g}. Write a larger epsilon."
        ) from error


@functools.cache
def _spent_epsilon(noise_multiplier: float, rate: float, steps: int, delta: float) -> float:
    from opacus.accountants import PRVAccountant, RDPAccountant

    history = [(noise_multiplier, rate, steps)]
    renyi, prv = RDPAccountant(), PRVAccountant()
    renyi.history, prv.history = history, history
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that its bound is loose; the PRV accountant gives a tighter one
        bound = float(renyi.get_epsilon(delta))
    return bound if bound > MAX_PRV_EPSILON else min(bound, float(prv.get_epsilon(delta)))


def missing_package(method: Choice) -> str:
    """Return a message about the package that a method needs for training; "" if no package is missing."""
    if privacy_settings(method) is None or find_spec("opacus"):
        return ""
    return "differentially private training needs opacus, which is not installed. Run: pip install 'byheart[dp]'"
