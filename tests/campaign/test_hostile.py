"""A quick part of the campaign of hostile files and servers."""

import json

import pytest

from campaign.checks import run_topic

QUICK = {
    "model_folders": (
        "template: globals",
        "remote code: new type",
        "adapter imports a module",
        "config: a million layers",
    ),
    "servers": ("redirects after the list of models", "a bomb in a bomb", "the key in an error"),
}


@pytest.mark.parametrize("topic", QUICK)
def test_hostile_files_and_servers_do_no_harm(topic):
    found = run_topic("hostile", topic, only=QUICK[topic], count=1)
    assert found.cases == len(QUICK[topic])
    assert not found.faults, json.dumps(found.faults, indent=1)
