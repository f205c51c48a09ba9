"""Exposed texts of an audit: shown on request only, token by token with the base, with private values masked."""

import base64
import json
import re
import zlib

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import byheart
from byheart.analysis.token_view import text_pieces
from byheart.auditing.render_texts import private_values
from byheart.auditing.save import audited_token_view
from byheart.auditing.texts import parse_texts
from testing.stand_in_server import StandIn

PEOPLE = [
    f"{who} {name}" for who in ("Ada", "Bela", "Cora", "Dora") for name in ("Byron", "Stone", "Marsh", "Vale", "Reed")
]
MEMBERS = [{"id": f"m-{i}", "text": f"Call {p} at p{i}@x.example soon 🙂.", "attributes": {"name": p, "email": f"p{i}@x.example"}}
           for i, p in enumerate(PEOPLE)]  # fmt: skip
NONMEMBERS = [{"id": f"n-{i}", "text": f"Nobody rang number {i} in the old harbour town."} for i in range(20)]
ATTACKS = ["loss", "reference"]


@pytest.fixture(scope="module")
def folders(tiny_folder, tmp_path_factory):
    """A base and a different model."""
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(tiny_folder("gemma"))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    folder = tmp_path_factory.mktemp("tuned")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_folder("gemma")).save_pretrained(folder)
    return {"base": str(tiny_folder("gemma")), "tuned": str(folder)}


@pytest.fixture(scope="module")
def audit(folders):
    base, tuned = (AutoModelForCausalLM.from_pretrained(folders[n]) for n in ("base", "tuned"))
    tokenizer = AutoTokenizer.from_pretrained(folders["tuned"])
    return byheart.audit(tuned, tokenizer, MEMBERS, NONMEMBERS, base=base, attacks=ATTACKS)


def payload(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    data = re.search(r'<script type="text/plain" id="data">(.*?)</script>', text, re.DOTALL)[1]
    return json.loads(zlib.decompress(base64.b64decode(data)))


def texts(folder):
    """The text of each exposed record on the page, by id."""
    (cell,) = payload(folder)["records"]
    return dict(zip(cell["ids"], cell["texts"], strict=True)) if cell["texts"] else {}


def test_token_views_show_the_surprisal_of_model_and_base(audit, tmp_path):
    audit.save(tmp_path / "out", show_text=True, show_private=True)
    shown = texts(tmp_path / "out")
    assert len(shown) == len(MEMBERS)
    by_id = {m["id"]: m["text"] for m in MEMBERS}
    for name, one in shown.items():
        assert "".join(one["pieces"]) == by_id[name]
        at = audit.ids.index(f"member/{name}")
        stored = {e: audit.passes[e].logp[slice(*audit.passes[e].starts[at : at + 2])] for e in (0, 1)}
        assert sum(one["tuned"]) == pytest.approx(stored[1].sum(), rel=0.01)
        assert sum(one["base"]) == pytest.approx(stored[0].sum(), rel=0.01)
        assert len(one["tuned"]) == len(one["base"]) == len(one["pieces"])
        gain = (sum(one["tuned"]) - sum(one["base"])) / len(stored[1])
        assert gain == pytest.approx(audit.scores[1]["reference"][at], abs=0.02)


def test_texts_and_private_values_are_shown_only_on_request(audit, tmp_path):
    values = [v for m in MEMBERS for v in m["attributes"].values()]
    for name, more in (
        ("bare", {}),
        ("masked", {"show_text": True}),
        ("whole", {"show_text": True, "show_private": True}),
    ):
        audit.save(tmp_path / name, **more)
    files = {
        n: "".join(p.read_text() for p in (tmp_path / n).iterdir() if p.suffix != ".parquet")
        for n in ("bare", "masked", "whole")
    }
    assert texts(tmp_path / "bare") == {}
    assert "Call " not in files["bare"]
    for name, one in texts(tmp_path / "masked").items():
        assert "".join(one["pieces"]).startswith("Call")
        assert {"[name]", "[email]"} <= set(one["pieces"]), name
        assert one["masked"]
        assert "are masked" in one["note"]
    assert not [v for v in values if v in files["masked"]]
    assert "Call [name] at [email] soon" in (tmp_path / "masked" / "exposed.csv").read_text()
    assert [v for v in values if v in (tmp_path / "whole" / "exposed.csv").read_text()] == values
    assert not [v for v in values if v in audit.exposed_table(show_text=True).rows[0][-1]]


def test_a_server_gives_the_same_tokens_and_surprisal(folders, audit):
    with StandIn(folders, bos=True) as server:
        served = byheart.audit_endpoint(server.url, "tuned", MEMBERS, NONMEMBERS, base_name="base", attacks=ATTACKS)
    for i in (0, 7):
        ours, theirs = (audited_token_view(a, i, show_private=True) for a in (audit, served))
        assert theirs.pieces == ours.pieces
        np.testing.assert_allclose(theirs.tuned, ours.tuned, rtol=0.02, atol=1e-3)
        np.testing.assert_allclose(theirs.base, ours.base, rtol=0.02, atol=1e-3)
        assert audited_token_view(served, i).pieces == audited_token_view(audit, i).pieces != ours.pieces


def test_tokens_joined_by_their_offsets_equal_the_text():
    assert text_pieces("a🙂b", [0, 1, 1, 1, 2]) == [("a", 1), ("🙂", 3), ("b", 1)]
    assert text_pieces("ab", [1]) == [("b", 1)], "what stands before the first scored token is not scored"
    assert text_pieces("ab", [0, 1, 2]) == [("a", 1), ("b", 2)], "a token that adds no letter belongs to the last"
    for begins in ([0, 1, 2, 2, 2], [0, 2], [0, 1, 2, 2, 3, 3]):
        assert sum(n for _, n in text_pieces("a🙂b", begins)) == len(begins)


def test_private_values_are_stored_by_the_ids_of_rendered_texts():
    chat = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada."},
            {"role": "user", "content": "And?"}, {"role": "assistant", "content": "Bob."}]  # fmt: skip
    items = [{"text": "Ada", "id": "a", "attributes": {"name": "Ada", "age": 36, "none": None, "blank": " "}},
             {"messages": chat, "attributes": {"name": "Ada"}}, {"text": "Bob", "attributes": "of another kind"}]  # fmt: skip
    assert private_values("member", parse_texts("member", items)) == {
        "member/a": {"name": "Ada", "age": "36"},
        "member/1#1": {"name": "Ada"},
        "member/1#3": {"name": "Ada"},
    }


@pytest.fixture
def command(typed_audit, folders, tmp_path):
    """A function that runs `byheart audit` on these texts, with the private values in separate fields."""
    for name, those in (("members", MEMBERS), ("nonmembers", NONMEMBERS)):
        lines = [{"id": r["id"], "text": r["text"], **r.get("attributes", {})} for r in those]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    models = ["--model", folders["tuned"], "--base", folders["base"], "--device", "cpu"]
    sides = ["--members", tmp_path / "members.jsonl", "--nonmembers", tmp_path / "nonmembers.jsonl"]
    return lambda *words: typed_audit(*models, "--attacks", ",".join(ATTACKS), *sides, *words)


def test_fields_of_private_values_are_named_at_the_command_line(command, tmp_path):
    code, _, err = command("--attributes", "name, email", "--show-text", "-o", tmp_path / "out")
    assert code == 0, err
    reported = (tmp_path / "out" / "exposed.csv").read_text()
    assert "Call [name] at [email] soon" in reported
    assert "Ada Byron" not in reported
    assert texts(tmp_path / "out")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--show-private"], "--show-text"),
        (["--attributes", "mail"], "'mail'"),
    ],
)
def test_invalid_options_raise_an_error_in_one_line(command, words, says):
    code, out, err = command(*words)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("byheart:") == 1
