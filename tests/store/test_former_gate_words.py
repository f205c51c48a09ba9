"""Stored split checks with former words are shown with the present ones."""

import dataclasses
import json

from byheart.core.split_check import Finding, Gate
from byheart.store.former_gate_words import with_current_words
from byheart.store.rows import read_gate

FORMER = Gate(
    48,
    48,
    (
        Finding("exact copies", "sound", "0 of 48 non-members", "", 0.0),
        Finding("word 8-grams", "sound", "0.3% in training texts; 0.2% in members, members' own 0.1%", "", 0.003),
        Finding("cut at 48 tokens", "sound", "about 1.0% of members (4 characters taken for a token)", "", 0.01),
        Finding(
            "power, AUC",
            "doubtful",
            "AUC 0.666 is told from chance at 80 % power",
            "48 members and 48 non-members tell only an AUC above 0.67 from chance",
            0.666,
        ),
    ),
)


def test_former_phrases_are_read_as_present_ones(tmp_path):
    (tmp_path / "gate.json").write_text(json.dumps(dataclasses.asdict(FORMER)))
    copies, grams, cut, power = read_gate(tmp_path).findings
    assert copies.name == "exact duplicates"
    assert grams.found == "0.3% occur in training texts, 0.2% in members; 0.1% of a member's in other groups"
    assert cut.found == "about 1.0% of members (at 4 characters per token)"
    assert power.found == "one attack distinguishes AUC 0.666 from chance at 80 % power"
    assert power.why == "48 members and 48 non-members distinguish only an AUC above 0.67 from chance"
    assert [f.value for f in read_gate(tmp_path).findings] == [f.value for f in FORMER.findings]


def test_present_phrases_do_not_change():
    assert with_current_words(with_current_words(FORMER)) == with_current_words(FORMER)
