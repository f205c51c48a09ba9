"""What an attack's adversary must have follows from signatures and from the settings of observations."""

import pytest

from byheart.core import registry
from byheart.core.adversary import (
    UNKNOWN,
    Access,
    adversary,
    adversary_order,
    adversary_phrase,
    default_adversary_label,
)
from byheart.core.row import adversary_label, build_row
from byheart.core.types import Estimate
from testing import made_up

ROW = next(r for r in made_up.study() if r.attack)


@pytest.mark.parametrize(
    ("attack", "label"),
    [
        ("samia", "generated text"),
        ("discoverable", "generated text"),
        ("synthetic_ngram", "generated text"),
        ("synthetic_similarity_calibrated", "generated text + base model"),
        ("loss", "log-probabilities"),
        ("min_k_plus_plus", "next-token distributions"),
        ("probabilistic", "next-token distributions"),
        ("recall", "log-probabilities + similar texts"),
        ("reference", "log-probabilities + base model"),
        ("neighbourhood", "log-probabilities + base model"),
        ("error_zone", "next-token distributions + base model"),
        ("wel", "log-probabilities + similar texts + base model"),
        ("con_recall", "log-probabilities + similar texts + known members"),
        ("extractable", "next-token distributions + base model"),
        ("grad_norm", "weights"),
        ("gradient_alignment", "base model + weights"),
        ("gradient_alignment_initial", "base model + weights"),
        ("hard_tokens", "log-probabilities + base model"),
        ("ramia", "log-probabilities + base model"),
        ("reward_margin", "log-probabilities + base model"),
        ("reference_self_prompted", "log-probabilities + similar texts + base model + training settings"),
        ("spv_self_prompted", "log-probabilities + similar texts + base model + training settings"),
        ("lira_sequence", "log-probabilities + shadow models + other training texts"),
        (
            "trajectory",
            "log-probabilities + similar texts + base model + known members + model after every epoch",
        ),
        ("lira", "log-probabilities + shadow models + other training texts"),
        ("rmia", "log-probabilities + similar texts + shadow models + other training texts"),
    ],
)
def test_an_adversary_has_what_the_attack_requests(attack, label):
    assert default_adversary_label(attack) == label
    assert adversary(registry.choose("attacks", attack)).label == label


@pytest.mark.parametrize(
    ("attack", "observation", "settings", "label"),
    [
        ("lira", "shadows", {"rest": False}, "log-probabilities + shadow models"),
        ("neighbourhood", "neighbour_texts", {"masked_model": "someones/bert"}, "log-probabilities"),
    ],
)
def test_settings_of_observations_change_the_adversary(attack, observation, settings, label):
    configured = registry.choose("observations", observation, settings)
    assert adversary(registry.choose("attacks", attack), [configured]).label == label


def test_an_adversary_with_shadow_models_has_the_base_model():
    assert Access.BASE_MODEL in adversary(registry.choose("attacks", "lira")).access


def test_adversaries_are_ordered_by_what_is_hardest_to_obtain():
    attacks = (
        "rmia",
        "lira",
        "grad_norm",
        "con_recall",
        "wel",
        "reference",
        "recall",
        "min_k_plus_plus",
        "loss",
        "samia",
    )
    ordered = sorted({default_adversary_label(a) for a in attacks}, key=adversary_order)
    wanted = [default_adversary_label(a) for a in reversed(attacks)]
    assert ordered[:-2] == wanted[:-2]  # lira and rmia: common requirements decide last
    assert {*ordered[-2:]} == {*wanted[-2:]}
    assert max([UNKNOWN, *ordered], key=adversary_order) == UNKNOWN


def test_an_attack_that_is_not_installed_has_an_unknown_adversary():
    assert default_adversary_label("someone:elses") == UNKNOWN
    assert default_adversary_label("no_such_attack") == UNKNOWN


def test_a_phrase_is_a_list_in_words():
    assert adversary_phrase("weights") == "weights"
    assert adversary_phrase("a + b + c") == "a, b and c"


def test_a_row_has_the_adversary_of_its_attack_and_an_older_row_that_of_default_observations():
    labels = {
        n: getattr(ROW, n)
        for n in (
            "base",
            "dataset",
            "dataset_settings",
            "method",
            "method_settings",
            "training_settings",
            "seed",
            "cell",
        )
    }
    lira = registry.choose("attacks", "lira")
    assert build_row(labels, 1, "auc", Estimate(0.5), lira).adversary == default_adversary_label("lira")
    assert (
        build_row({**labels, "adversary": "shadow models"}, 1, "auc", Estimate(0.5), lira).adversary == "shadow models"
    )
    assert build_row(labels, 1, "perplexity", Estimate(5.0)).adversary == ""
    assert ROW.adversary == ""
    assert adversary_label(ROW) == default_adversary_label(ROW.attack)
