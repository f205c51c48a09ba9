"""Numbers of layers that a method trains, checked against the base model's config before any work."""

from __future__ import annotations

from byheart.core.registry import module_constant
from byheart.study.planned_cell import PlannedCell


def check_trained_layers(planned: PlannedCell) -> None:
    """Raise `SettingError` for layers that the base model does not have, or that are not in ascending order.

    The method's file names its setting in `LAYERS_SETTING`. A base model whose config is not known yet is checked when the method
    changes it.
    """
    method = planned.cell.method
    setting = module_constant(method.function, "LAYERS_SETTING", "")
    layers = method.settings[setting] if setting else None
    if layers is None:
        return
    from byheart.lm.decoder_layers import check_layers
    from byheart.lm.load import causal_config

    config = causal_config(planned.cell.base)
    depth = getattr(config and config.get_text_config(), "num_hidden_layers", None)
    if depth is not None:
        check_layers(f"methods {method.name}", layers, depth)
