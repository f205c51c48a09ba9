"""Settings of an audit."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from byheart.auditing.attack_evidence import parse_attacks
from byheart.auditing.pass_bounds import parse_pass_bounds
from byheart.core.config import TokenFormat, Tokenization
from byheart.core.errors import SettingError
from byheart.core.registry import Choice, choose, setting_types
from byheart.core.setting_values import validate_setting

DEFAULT_MAX_TEXTS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """Settings of an audit, without model and texts; checked on construction."""

    attacks: Any = "default"
    max_texts: int = DEFAULT_MAX_TEXTS
    max_tokens: int = 512
    fpr: float = 0.01
    precision: Literal["float32", "bfloat16"] = "float32"
    token_budget: int = 4096
    end_token: bool = False
    tokenization: Tokenization = "joined"
    pass_below: Any = ()

    def __post_init__(self) -> None:
        """Raise `SettingError` for sizes below 1 and rates outside (0, 1), `UnknownNameError` for unknown attacks."""
        for name in ("max_texts", "max_tokens", "token_budget"):
            if (value := validate_setting(name, int, getattr(self, name))) < 1:
                raise SettingError(f"{name} = {value}: the value is below 1. Write a whole number above 0.")
        validate_setting("end_token", bool, self.end_token)
        validate_setting("tokenization", Tokenization, self.tokenization)
        validate_setting("precision", Literal["float32", "bfloat16"], self.precision)
        validate_setting("fpr", setting_types(choose("metrics", "tpr_at_fpr").function)["fpr"], self.fpr)
        object.__setattr__(self, "attacks", parse_attacks(self.attacks))
        object.__setattr__(self, "pass_below", parse_pass_bounds(self.pass_below, fpr=self.fpr))

    @property
    def metrics(self) -> tuple[Choice, ...]:
        """Metrics of every attack."""
        return choose("metrics", "auc"), choose("metrics", "tpr_at_fpr", {"fpr": self.fpr})

    @property
    def token_format(self) -> TokenFormat:
        """How the texts become tokens."""
        return TokenFormat(end_token=self.end_token, tokenization=self.tokenization)

    @property
    def recipe(self) -> dict[str, Any]:
        """All settings as plain values, to repeat the audit."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "pass_below"}
        bounds = {"pass_below": [str(bound) for bound in self.pass_below]} if self.pass_below else {}
        return {**plain, "attacks": {n: a.recipe for n, a in self.attacks.items()}, **bounds}

    @property
    def recipe_without_model(self) -> dict[str, Any]:
        """The settings of an audit that reads no model."""
        unused = {"precision", "token_budget", "end_token", "tokenization"}
        return {name: value for name, value in self.recipe.items() if name not in unused}


MODEL_EQUALS_BASE = (
    "model and base: identical log-probabilities for every text, because the adapter is inactive or untrained, or because both "
    "are the same weights. Pass the model that training saved."
)
