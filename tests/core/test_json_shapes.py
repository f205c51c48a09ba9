"""Content of JSON files is checked against the declared type, and the first place that differs is named."""

from dataclasses import dataclass

import pytest

from byheart.core.json_shapes import as_declared
from byheart.core.row import rows_from_json
from byheart.core.types import Row

ROW = {
    **dict.fromkeys(("base", "dataset", "dataset_settings", "method", "method_settings", "training_settings"), "x"),
    **dict.fromkeys(("attack", "attack_settings", "metric", "metric_settings", "cell", "scores"), "y"),
    "seed": 0,
    "epoch": 1,
    "value": 0.5,
    "low": None,
    "high": 1.0,
    "members": 3,
    "nonmembers": None,
}


@dataclass(frozen=True)
class Made:
    name: str
    sizes: tuple[int, ...]


def test_content_of_the_declared_type_is_returned():
    assert as_declared(list[Made], [{"name": "a", "sizes": [1, 2]}]) == [Made("a", (1, 2))]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([{"name": 1, "sizes": []}], r"0\.name: input should be a valid string"),
        ([{"name": "a", "sizes": [True]}], r"0\.sizes\.0: input should be a valid integer"),
        ([{"name": "a"}], r"0\.sizes: field required"),
        ({"name": "a"}, "input should be a valid array"),
        ([{"name": {1, 2}}], "not JSON serializable"),
    ],
)
def test_the_first_other_place_is_named(value, place):
    with pytest.raises(ValueError, match=place):
        as_declared(list[Made], value)


def test_rows_keep_their_numbers():
    rows = rows_from_json([ROW, {**ROW, "epoch": 0.5, "value": 1}])
    assert rows == [Row(**ROW), Row(**{**ROW, "epoch": 0.5, "value": 1.0})]
    assert isinstance(rows[0].epoch, int)


@pytest.mark.parametrize(
    "change",
    [
        {"value": "1"},
        {"value": None},
        {"seed": "a"},
        {"attack": None},
        {"other": 1},
        *({"epoch": epoch} for epoch in (float("nan"), float("inf"), -1, 10**400)),
    ],
)
def test_rows_of_other_types_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        rows_from_json([{**ROW, **change}])
