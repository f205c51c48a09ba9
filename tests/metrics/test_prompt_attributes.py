"""Private values that stand only in prompts: readings and extraction against the raw model, and in studies."""

import json

import numpy as np
import pytest

import byheart
from byheart.core import registry
from byheart.core.errors import DataError
from byheart.core.split import Examples
from byheart.core.types import Texts
from byheart.datasets.files import files
from byheart.lm.generate import end_tokens
from byheart.lm.special_tokens import bos_ids
from byheart.lm.tokens import tokenize
from byheart.observations.candidates import candidates
from byheart.observations.prompt_candidate_likelihoods import prompt_candidate_likelihoods
from byheart.observations.prompt_candidate_likelihoods_base import prompt_candidate_likelihoods_base
from byheart.observations.prompt_candidates import prompt_candidates
from byheart.observations.recited_prompt_attributes import recited_prompt_attributes
from byheart.tables.attributes import attributes
from testing.reading import logits_of, scorer
from testing.wrapped import tuned

METHODS = [None, *registry.entry_names("methods")]
PROMPTS = ["The sailor of LISBON wrote. Who?", "Oslo: the baker of Oslo:", "To the judge in Cairo:", "Lima"]
STRINGS = [" a letter to the queen", " he wrote to Minsk", " the judge said yes", " nothing"]
ATTRIBUTES = (
    {"city": "LISBON", "who": "sailor"},
    {"city": "Oslo", "other": "Minsk"},  # Minsk stands in the completion
    {"city": "Cairo", "who": "judge"},  # the judge stands in both
    {"city": "Lima"},
)
OWN = ({"city": "LISBON", "who": "sailor"}, {"city": "Oslo"}, {"city": "Cairo"}, {"city": "Lima"})
OTHERS = ({"city": "Quito", "who": "nurse", "other": "Rome"}, {"city": "Minsk"}, {"city": "Rome"}, {"who": "old king"})


def read_texts(model, prompts=PROMPTS, strings=STRINGS, most=64):
    texts = Texts(tuple(f"t{i}" for i in range(len(strings))), tuple(strings), tuple(prompts))
    return tokenize(model.tokenizer, texts, most)


def plain(model, text):
    return model.tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("method", METHODS)
def test_prompt_and_completion_are_scored_apart(tiny, architecture, method):
    base = tiny(architecture)
    tokens = read_texts(base)
    made = prompt_candidates(scorer(base), tokens, ATTRIBUTES, OTHERS, count=3)
    model = tuned(base, method)
    untuned = prompt_candidate_likelihoods_base(scorer(tiny(architecture)), made)
    found = prompt_candidate_likelihoods(scorer(model), made)
    reading = 0
    for a, (i, k) in enumerate(zip(made.text, made.kind, strict=True)):
        value = OWN[i][made.kinds[k]]
        for r in range(made.starts[a], made.starts[a + 1]):
            other = made.values[r]
            assert (r == made.starts[a]) == (other == value)
            lead = bos_ids(model.tokenizer)
            prompt = plain(model, PROMPTS[i].replace(value, other))
            ids = [*lead, *prompt, *plain(model, STRINGS[i])]
            logp = logits_of(model, ids).log_softmax(1)
            own = [logp[t - 1, ids[t]].item() for t in range(1, len(ids))]
            begin = len(lead) + len(prompt)
            assert found.prompt[r] == pytest.approx(sum(own[max(len(lead), 1) - 1 : begin - 1]), abs=1e-3)
            assert found.completion[r] == pytest.approx(sum(own[begin - 1 :]), abs=1e-3)
            reading += 1
    assert reading == len(made.values) == len(found.prompt)
    assert {(int(t), made.kinds[k]) for t, k in zip(made.text, made.kind, strict=True)} == {
        (i, kind) for i, own in enumerate(OWN) for kind in own
    }
    if method is None:
        np.testing.assert_allclose(untuned.completion, found.completion, atol=1e-4)


@pytest.mark.parametrize("method", [None, "lora", "prefix", "prompt"])
def test_extraction_is_greedy_after_the_beginning_of_the_prompt(tiny, architecture, method):
    model = tuned(tiny(architecture), method)
    found = recited_prompt_attributes(scorer(model), read_texts(model), ATTRIBUTES)
    place = iter(range(len(found.written)))
    for i, own in enumerate(OWN):
        for kind, value in sorted(own.items()):
            lead, ids, at = bos_ids(model.tokenizer), plain(model, PROMPTS[i]), PROMPTS[i].index(value)
            spelled = [model.tokenizer.decode(ids[:t]) for t in range(len(ids) + 1)]
            kept = max(t for t, s in enumerate(spelled) if len(s) <= at)
            if not len(lead) + kept:
                continue
            p = next(place)
            assert (found.text[p], found.kinds[found.kind[p]]) == (i, kind)
            assert found.expected[p] == PROMPTS[i][len(spelled[kept]) : at + len(value)]
            written, before = [], [*lead, *ids[:kept]]
            upto = min(t for t, s in enumerate(spelled) if len(s) >= at + len(value))
            while len(written) < upto - kept + 8:
                written.append(int(logits_of(model, [*before, *written])[-1].argmax()))
                if written[-1] in end_tokens(model):
                    written.pop()
                    break
            assert found.written[p] == model.tokenizer.decode(written)
    assert next(place, None) is None
    assert found.left_out.sum() == (0 if bos_ids(model.tokenizer) else 2)  # nothing stands before Oslo and Lima


def test_a_value_that_truncation_removed_from_the_prompt_is_left_out(tiny):
    model = tiny("llama")
    full = read_texts(model)
    tokens = read_texts(model, most=int(full.lengths[0]) - 4)
    made = prompt_candidates(scorer(model), tokens, ATTRIBUTES, OTHERS, count=3)
    assert (0, "who") not in {(int(t), made.kinds[k]) for t, k in zip(made.text, made.kind, strict=True)}
    assert dict(zip(made.kinds, made.left_out, strict=True))["who"] == 1
    first = made.ids[made.offsets[0] : made.offsets[1]].tolist()
    assert first == tokens.ids[: tokens.starts[1]].tolist()  # the true reading is the truncated text


def test_values_of_completions_only_raise_an_error_with_the_fix(tiny):
    model = tiny("llama")
    tokens = read_texts(model)
    only = ({"who": "queen"}, {"other": "Minsk"}, {}, {})
    with pytest.raises(
        DataError, match=r"no private value stands in a prompt and not in the text after it\. Name such fields"
    ):
        prompt_candidates(scorer(model), tokens, only, OTHERS, count=3)
    in_prompts = ({"city": "LISBON"}, {"city": "Oslo"}, {}, {})
    with pytest.raises(
        DataError, match=r"Values that stand only in prompts are those of the metric prompt_attribute_inference"
    ):
        candidates(scorer(model), tokens, in_prompts, OTHERS, count=3)


def write_lines(folder, lines):
    (folder / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(folder / "t.jsonl")


def test_a_file_may_name_values_of_prompts(tmp_path):
    lines = [{"prompt": "Dear Ann,", "completion": " hello", "name": "Ann"}]
    assert files(path=write_lines(tmp_path, lines), attributes=("name",)).attributes == ({"name": "Ann"},)
    chat = [("user", "I am Ann."), ("assistant", "Hello."), ("user", "Bye"), ("assistant", "Bye, sailor.")]
    turns = [{"role": role, "content": content} for role, content in chat]
    path = write_lines(tmp_path, [{"messages": turns, "name": "Ann", "who": "sailor"}])
    assert files(path=path, attributes=("name", "who")).attributes == ({"name": "Ann"}, {"who": "sailor"})
    path = write_lines(tmp_path, [{"prompt": "Dear Ann,", "completion": " hello", "name": "Bob"}])
    with pytest.raises(
        DataError, match=r"'name' is 'Bob', which does not occur in the text or its prompt\. Leave it out"
    ):
        files(path=path, attributes=("name",))
    with pytest.raises(DataError, match=r"'name' is 'Bob', which does not occur in the text or its prompt\. Correct"):
        Examples(Texts(("a",), ("hello",), ("Dear Ann",)), ("pool",), ("a",), ({"name": "Bob"},))


WORDS = ["sailor", "doctor", "queen", "judge", "painter", "clerk", "Oslo", "Lima", "Cairo", "nurse", "pilot", "letters"]


@pytest.fixture(scope="module")
def done(tiny_folder, tmp_path_factory):
    """A study of a model that memorized which completion follows which code. Codes stand only in prompts."""
    folder = tmp_path_factory.mktemp("prompts")
    chance = np.random.default_rng(0)
    lines = [
        {
            "prompt": f"The code {(code := ''.join(map(str, chance.integers(0, 10, 3))))} is of:",
            "completion": f" {' '.join(chance.permutation(WORDS)[:5])}",
            "code": code,
        }
        for _ in range(44)
    ]
    content = {
        "name": "prompts",
        "models": str(tiny_folder("llama")),
        "datasets": [{"files": {"path": write_lines(folder, lines), "attributes": ["code"]}}],
        "data": {
            "train": 12,
            "members": 12,
            "nonmembers": 12,
            "validation": 8,
            "max_tokens": 60,
            "near_duplicate": 1.0,
        },
        "methods": ["full"],
        "training": {"epochs": 24, "batch_size": 2, "learning_rate": 0.01, "schedule": "linear", "observe": [24]},
        "attacks": ["loss"],
        "metrics": ["prompt_attribute_inference", "prompt_attribute_extraction"],
        "observations": [{"prompt_candidates": {"count": 4}}],
    }
    return byheart.run(content, store=folder / "store")


def of(results, metric, epoch):
    return {r.metric_settings: r for r in results.rows if r.metric == metric and r.epoch == epoch}


def test_the_completion_reveals_the_code_of_its_prompt(done):
    assert not done.failed, done.failed
    found = of(done, "prompt_attribute_inference", 24)
    for pool in ("unseen", "trained"):
        start = f"kind=code, ranked_by=completion, pool={pool}, measure="
        assert found[f"{start}top1, of=members"].value > 0.8
        assert found[f"{start}top1, of=nonmembers"].value < 0.7
        for over in ("nonmembers", "untuned"):
            assert found[f"{start}advantage, over={over}"].low > 0


def test_without_loss_on_prompts_the_prompt_reveals_nothing(done):
    """Training gives no loss to the prompt: neither its likelihood nor its greedy continuation knows the code."""
    found = of(done, "prompt_attribute_inference", 24)
    for over in ("nonmembers", "untuned"):
        row = found[f"kind=code, ranked_by=prompt, pool=trained, measure=advantage, over={over}"]
        assert row.low <= 0 <= row.high
    recited = of(done, "prompt_attribute_extraction", 24)
    assert recited["kind=code, measure=recited, of=members"].value == 0
    assert recited["kind=code, measure=left_out"].value == 0


def test_a_base_model_has_no_advantage_over_itself(done):
    before = of(done, "prompt_attribute_inference", 0)
    assert not any("over=untuned" in settings for settings in before)
    row = before["kind=code, ranked_by=completion, pool=unseen, measure=advantage, over=nonmembers"]
    assert row.low < 0 < row.high


def test_tables_name_what_ranks_the_values(done):
    shown = attributes(done.rows)
    attacks = {row[3]: row for row in shown.rows}
    pools = ("unseen", "trained")
    expected = {
        f"inferred in prompts by the {by} among {pool} values" for by in ("completion", "prompt") for pool in pools
    }
    assert set(attacks) == {*expected, "extracted from prompts"}
    assert "*" in attacks["inferred in prompts by the completion among trained values"][4]
    assert "*" not in attacks["inferred in prompts by the prompt among trained values"][4]


def test_costs_are_rows(done):
    cost = {r.metric_settings: r.value for r in done.rows if r.metric == "passes" and r.epoch == 24 and not r.attack}
    assert cost["observation=prompt_candidate_likelihoods"] == 1 + 3 * 3
    assert cost["observation=recited_prompt_attributes"] == 1


def test_prompts_are_required(tiny_folder, tmp_path):
    content = {
        "models": str(tiny_folder("llama")),
        "datasets": [{"records": {"count": 60}}],
        "data": {"train": 12, "members": 10, "nonmembers": 12, "validation": 6},
        "methods": ["lora"],
        "attacks": ["loss"],
        "metrics": ["prompt_attribute_inference"],
    }
    with pytest.raises(DataError, match="metrics prompt_attribute_inference: requires prompts, but 6 of 6"):
        byheart.run(content, store=tmp_path / "store")
