"""Prompt and completion are tokenized as in training: as one string, or separately."""

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import byheart
from byheart.core.config import TokenFormat
from byheart.core.types import Texts
from byheart.lm.tokens import texts_with_other_tokens, tokenize
from testing.audited import MEMBERS, NONMEMBERS

PAIRS = [(f"Question {i}:\n", text) for i, text in enumerate(MEMBERS)]


@pytest.fixture(scope="module")
def spaced():
    """A tokenizer that puts a space before every string, as Llama 2's and Mistral's do."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator([*MEMBERS, *NONMEMBERS, "Question 0123456789:\n"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def texts(pairs):
    return Texts(tuple(map(str, range(len(pairs)))), tuple(c for _, c in pairs), tuple(p for p, _ in pairs))


def test_joined_tokens_equal_those_of_the_complete_string(spaced):
    found = tokenize(spaced, texts(PAIRS), 99)
    for i, (prompt, completion) in enumerate(PAIRS):
        ids = spaced(prompt + completion, add_special_tokens=False)["input_ids"]
        assert found.ids[found.starts[i] : found.starts[i + 1]].tolist() == ids
        scored = ids[found.first[i] :]
        assert spaced.decode(scored).strip() == completion
    apart = tokenize(spaced, texts(PAIRS), 99, token_format=TokenFormat(tokenization="apart"))
    assert apart.ids.tolist() != found.ids.tolist()
    assert texts_with_other_tokens(spaced, texts(PAIRS)) == len(PAIRS)


def test_a_token_that_covers_the_boundary_is_scored(tiny_folder):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder("gpt2"))
    text = "The old sailor wrote to the queen, alone."
    complete = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    start, end = next((a, b) for a, b in complete["offset_mapping"][3:] if b - a > 2)
    pair = (text[: start + 1], text[start + 1 :])
    found = tokenize(tokenizer, texts([pair]), 99)
    assert found.ids.tolist()[-len(complete["input_ids"]) :] == complete["input_ids"]
    first = complete["offset_mapping"][int(found.first[0]) - (len(found.ids) - len(complete["input_ids"]))]
    assert first == (start, end)


def test_texts_without_prompts_are_tokenized_alike(spaced):
    alone = texts([("", m) for m in MEMBERS])
    joined, apart = (
        tokenize(spaced, alone, 99),
        tokenize(spaced, alone, 99, token_format=TokenFormat(tokenization="apart")),
    )
    assert joined.digest == apart.digest
    assert texts_with_other_tokens(spaced, alone) == 0


def test_an_audit_scores_the_tokens_of_training_and_reports_the_difference(spaced):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(spaced), **sizes)).eval()
    others = [(p, t) for (p, _), t in zip(PAIRS, NONMEMBERS, strict=True)]
    audit = byheart.audit(model, spaced, PAIRS, others, attacks=["loss"])
    expected = []
    for prompt, completion in (*PAIRS, *others):
        ids = torch.tensor([spaced(prompt + completion, add_special_tokens=False)["input_ids"]])
        first = len(spaced(prompt, add_special_tokens=False)["input_ids"])
        with torch.no_grad():
            logp = model(input_ids=ids).logits[0].log_softmax(-1)
        expected.append(float(logp[first - 1 : -1].gather(1, ids[0, first:, None]).mean()))
    assert np.abs(audit.scores[1]["loss"] - expected).max() < 1e-5
    assert any("64 of 64 texts have other tokens" in w for w in audit.warnings)
    apart = byheart.audit(model, spaced, PAIRS, others, attacks=["loss"], tokenization="apart")
    assert np.abs(apart.scores[1]["loss"] - expected).max() > 1e-3
