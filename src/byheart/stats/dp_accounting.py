"""What differentially private training spends: noise from a promised epsilon, and epsilon from noise, rate and steps.

DP-SGD ("Deep Learning with Differential Privacy", Abadi et al., CCS 2016, arXiv 1607.00133): at each step every training
text is drawn by itself with the same chance, its gradient is clipped, and Gaussian noise is added to the sum. Two
data sets are neighbours where one has one text more. The accountant is opacus's, of privacy loss random variables
(Gopi et al., NeurIPS 2021, arXiv 2106.02848), whose upper end is told. Where epsilon is large enough to mean nothing, Rényi's
(Mironov et al., 2019, arXiv 1908.10530) stands in: the first needs minutes and gigabytes there.
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
"""An epsilon, by Rényi's accountant, above which no better one is sought."""


@dataclass(frozen=True)
class DpSgdParameters:
    """How noisy training is, and how often it looks: each of an epoch's `steps` draws each text with the chance `rate`.

    `noise_multiplier` is the noise's standard deviation in units of `clip`, the largest norm of one text's gradient.
    """

    noise_multiplier: float
    clip: float
    delta: float
    rate: float
    steps: int

    def epsilon(self, epochs: int) -> float:
        """Return what so many epochs spend, an upper bound at `delta`: 0 before training."""
        return _spent_epsilon(self.noise_multiplier, self.rate, self.steps * epochs, self.delta) if epochs else 0.0


def privacy_settings(method: Choice) -> Privacy | None:
    """Return what a method promises by its settings; None for one whose file does not say that it is private."""
    if not module_constant(method.function, "PRIVATE", default=False):
        return None
    return Privacy(**{f.name: method.settings[f.name] for f in dataclasses.fields(Privacy)})


def dp_sgd_parameters(privacy: Privacy, texts: int, training: Training) -> DpSgdParameters:
    """Return what keeps the promise for so many training texts; no model is needed to know.

    Raises `SettingError` as `promised_delta` does, and for an epsilon that no noise is enough for; needs opacus.
    """
    delta = target_delta(privacy, texts)
    rate = min(1.0, training.batch_size / texts)
    steps = math.ceil(texts / training.batch_size)
    noise = privacy.noise_multiplier or _least_noise_multiplier(
        privacy.epsilon or 0.0, rate, steps * training.epochs, delta
    )
    return DpSgdParameters(noise, privacy.clip, delta, rate, steps)


def target_delta(privacy: Privacy, texts: int) -> float:
    """Return the delta that is promised to so many training texts.

    Raises `SettingError` for a promise that means nothing or contradicts itself, as far as it shows without opacus.
    """
    if (privacy.epsilon is None) == (privacy.noise_multiplier is None):
        raise SettingError(
            f"epsilon = {privacy.epsilon} and noise_multiplier = {privacy.noise_multiplier}: one of them sets the noise; "
            "write a number for one and null for the other"
        )
    delta = texts**-1.1 if privacy.delta is None else privacy.delta
    if delta >= 1 / texts:
        raise SettingError(
            f"delta = {delta:g}: publishing one of {texts} training texts outright would keep that promise; "
            f"write less than {1 / texts:.2g}, or null"
        )
    return delta


@functools.cache
def _least_noise_multiplier(epsilon: float, rate: float, steps: int, delta: float) -> float:
    """Return the least noise multiplier (to .01 of epsilon) that spends no more than epsilon."""
    from opacus.accountants.utils import get_noise_multiplier

    kind = "prv" if epsilon <= MAX_PRV_EPSILON / 2 else "rdp"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return get_noise_multiplier(
                target_epsilon=epsilon, target_delta=delta, sample_rate=rate, steps=steps, accountant=kind
            )
    except ValueError as error:
        raise SettingError(
            f"epsilon = {epsilon:g}: no noise is enough for {steps} steps at delta = {delta:g}; write a larger epsilon"
        ) from error


@functools.cache
def _spent_epsilon(noise_multiplier: float, rate: float, steps: int, delta: float) -> float:
    from opacus.accountants import PRVAccountant, RDPAccountant

    history = [(noise_multiplier, rate, steps)]
    rough, close = RDPAccountant(), PRVAccountant()
    rough.history, close.history = history, history
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the rough one could be closer, which is why there is another
        bound = float(rough.get_epsilon(delta))
    return bound if bound > MAX_PRV_EPSILON else min(bound, float(close.get_epsilon(delta)))


def missing_package(method: Choice) -> str:
    """Return what must be installed before a method can train, and how; "" where nothing is missing."""
    if privacy_settings(method) is None or find_spec("opacus"):
        return ""
    return "differentially private training needs opacus, which is not installed; run: pip install 'byheart[dp]'"
