"""Synthetic private records: independent, varied, and reproducible."""

from __future__ import annotations

import faker
import pytest

from byheart.datasets.records import CUSTOMER_TEMPLATES, DIAGNOSES, PATIENT_TEMPLATES, records


def test_a_record_contains_its_private_attributes_verbatim():
    examples = records(count=300, seed=1)
    kinds = {frozenset(a) for a in examples.attributes}
    customer = frozenset({"name", "email", "phone", "account"})
    assert kinds == {customer, customer | {"diagnosis"}}
    for text, a in zip(examples.texts.scored, examples.attributes, strict=True):
        assert all(text.count(value) == 1 for field, value in a.items() if field != "name")
        assert a["email"].endswith(".example")
        assert a["email"].count("@") == 1
        assert len(a["account"]) == 8
        assert a["account"].isdigit()
        assert [len(part) for part in a["phone"].split("-")] == [3, 3, 4]
        assert 80 < len(text) < 180


def test_records_are_independent_of_how_many_are_drawn():
    few, many = records(count=5, seed=3), records(count=50, seed=3)
    assert many.texts.scored[:5] == few.texts.scored
    assert many.attributes[:5] == few.attributes


def test_records_of_another_seed_are_different_persons():
    one, other = records(count=200, seed=0), records(count=200, seed=1)
    assert not {a["email"] for a in one.attributes} & {a["email"] for a in other.attributes}
    assert len({a["account"] for a in one.attributes}) == 200


def test_the_name_does_not_determine_the_address():
    for a in records(count=300).attributes:
        first, last = a["name"].lower().split(" ")
        mailbox = a["email"].partition("@")[0]
        for part in (first, last, first[0] + last):
            mailbox = mailbox.removeprefix(part).replace(f".{part}", "")
        assert any(c.isalpha() for c in mailbox.strip("._0123456789")), a


def test_every_template_and_diagnosis_is_drawn():
    examples = records(count=2000)
    assert {a["diagnosis"] for a in examples.attributes if "diagnosis" in a} == set(DIAGNOSES)
    openings = {t.partition("{")[0] for t in CUSTOMER_TEMPLATES + PATIENT_TEMPLATES} - {""}
    assert all(any(text.startswith(o) for text in examples.texts.scored) for o in openings)
    patients = sum("diagnosis" in a for a in examples.attributes)
    assert 900 < patients < 1100


@pytest.mark.parametrize("kind", ["customer", "patient"])
def test_records_of_one_kind(kind):
    assert {"diagnosis" in a for a in records(count=50, kind=kind).attributes} == {kind == "patient"}


def test_records_leave_the_global_generator_unchanged():
    shared = faker.Faker()
    faker.Faker.seed(7)
    expected = shared.name()
    faker.Faker.seed(7)
    records(count=10)
    assert shared.name() == expected


@pytest.mark.skipif(faker.VERSION != "40.54.0", reason="another Faker has other lists of names")
def test_golden_records():
    examples = records(count=2, seed=0)
    assert examples.texts.scored == GOLDEN, "raise REVISION in datasets/records.py where this was meant"
    assert examples.texts.ids == examples.groups == ("record/0", "record/1")
    assert examples.roles == ("pool", "pool")


GOLDEN = (
    (
        "Please call Katherine Fisher at 688-566-9558 about the insomnia test. "
        "Mail event998@hull-gallegos.example, account 29318886."
    ),
    (
        "Donald Davis has a follow-up for arthritis on Monday. "
        "Remind successful.davis266@garcia-jones.example or 900-538-7735; account 75136920."
    ),
)
