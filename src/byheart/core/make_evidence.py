"""Make evidence: one loop over observations, whatever provides the model.

A study provides evidence through the store, an audit of a local model through memory, an audit of a server through requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from byheart.core.registry import Choice


class EvidenceProvider(Protocol):
    """Source of what observations request, and destination of what they return."""

    def argument(self, name: str, /) -> Any:
        """Return an input, or the evidence of another observation, by the name that a signature requests."""
        ...

    def provide(self, observation: Choice, compute: Callable[[], Any], /) -> None:
        """Provide an observation's evidence from now on; call `compute` unless the evidence exists already."""
        ...


def make_evidence(observations: Iterable[Choice], provider: EvidenceProvider) -> None:
    """Make the evidence of each observation in turn. An observation must come after the observations that it requests."""
    for observation in observations:
        provider.provide(observation, partial(_observed, observation, provider))


def _observed(observation: Choice, provider: EvidenceProvider) -> Any:
    return observation(*(provider.argument(name) for name in observation.needs))
