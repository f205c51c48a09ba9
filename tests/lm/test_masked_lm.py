"""Neighbors by a masked language model: the proposals against a plain loop, replaced words, and errors."""

import json
import shutil

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForMaskedLM,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertModel,
    DistilBertConfig,
    ModernBertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

import byheart
from byheart.core.errors import ModelError
from byheart.core.registry import key_of
from byheart.core.types import Texts
from byheart.lm import masked_lm
from byheart.lm.tokens import tokenize
from byheart.observations.neighbour_texts import neighbour_texts
from byheart.observations.neighbours import neighbours
from testing.reading import own_ids, rows_of, scorer

SHAPE = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
CONFIGS = {
    "bert": BertConfig(vocab_size=150, max_position_embeddings=40, **SHAPE),
    "distilbert": DistilBertConfig(
        vocab_size=150, max_position_embeddings=40, dim=16, hidden_dim=16, n_layers=2, n_heads=2
    ),
    "roberta": RobertaConfig(vocab_size=150, max_position_embeddings=42, **SHAPE),
    "modernbert": ModernBertConfig(vocab_size=150, max_position_embeddings=42, pad_token_id=0, **SHAPE),
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ENDS = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
SENTENCE = "the queen of lisbon wrote letters to baker in oslo old sailor sings songs old red blue hats"


def word_pieces():
    """Lower case, whole words and pieces of words, as BERT's."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = [
        *SPECIAL,
        *dict.fromkeys(SENTENCE.split()),
        *letters,
        *(f"##{c}" for c in letters),
        ".",
        ",",
        "##ing",
        "##s",
    ]
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(vocabulary)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = ENDS
    return made


def byte_pairs(sentences):
    """Cased, the space before a word in its token, as RoBERTa's."""
    made = Tokenizer(models.BPE(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=150, special_tokens=SPECIAL, show_progress=False)
    made.train_from_iterator(sentences, trainer)
    made.post_processor = ENDS
    return made


@pytest.fixture(scope="module")
def masked_folder(tmp_path_factory):
    made = {}

    def folder(kind):
        if kind not in made:
            torch.manual_seed(3)
            made[kind] = tmp_path_factory.mktemp(kind)
            model = AutoModelForMaskedLM.from_config(CONFIGS[kind])
            with torch.no_grad():
                for weight in model.parameters():
                    if weight.ndim > 1:
                        weight.mul_(8.0)
            model.save_pretrained(made[kind])
            tokens = byte_pairs([SENTENCE] * 9) if kind in {"roberta", "modernbert"} else word_pieces()
            PreTrainedTokenizerFast(
                tokenizer_object=tokens,
                unk_token="[UNK]",
                cls_token="[CLS]",
                sep_token="[SEP]",
                pad_token="[PAD]",
                mask_token="[MASK]",
            ).save_pretrained(made[kind])
        return made[kind]

    return folder


# The last has no word that is one token, and is the longest, so that no neighbour is cut.
STRINGS = [
    "The queen of LISBON wrote letters to Oslo.",
    "An old sailor sings old songs,\nthe baker: hats!",
    "19:45 -- 20:15, xyz" + " 0" * 20,
]


def read_texts(model, strings=STRINGS, prompts=(), most=64):
    texts = Texts(tuple(f"t{i}" for i in range(len(strings))), tuple(strings), tuple(prompts))
    return tokenize(model.tokenizer, texts, most)


@pytest.mark.parametrize("kind", CONFIGS)
def test_proposals_have_the_highest_swap_scores(masked_folder, kind):
    """One complete forward pass per word, with the logits at the position of the dropped embedding."""
    model = masked_lm.load_masked(str(masked_folder(kind)))
    text = STRINGS[0].lower()
    words = masked_lm.whole_words(model)
    coded = model.tokenizer(text, return_offsets_mapping=True)
    ids = coded["input_ids"]
    places = [p for p, (a, b) in enumerate(coded["offset_mapping"]) if text[a:b].strip() in text[:-1].split()]
    assert len(places) > 3
    drawn = np.random.default_rng(int(key_of({"window": ids}), 16))
    kept = drawn.random((len(places), 16), dtype=np.float32) >= 0.7
    score = {}
    for row, p in enumerate(places):
        with torch.no_grad():
            embedded = model.module.get_input_embeddings()(torch.tensor([ids]))
            embedded[0, p] *= torch.from_numpy(kept[row]) / 0.3
            logits = model.module(inputs_embeds=embedded, attention_mask=torch.ones(1, len(ids))).logits[0, p].double()
        prob = logits.softmax(0)
        a, b = coded["offset_mapping"][p]
        a = b - len(text[a:b].strip())
        for v, word in words.items():
            if v != ids[p]:
                score[text[:a] + word + text[b:]] = float(prob[v] / (1 - prob[ids[p]]))
    for budget in (1, 50, 9999):
        found = list(masked_lm.texts_with_one_word_swapped(model, words, text, 6, budget))
        best = sorted(score.values(), reverse=True)[:6]
        np.testing.assert_allclose([score[t] for t in found[:6]], best, rtol=1e-3)


def test_words_are_complete_and_consist_of_letters(masked_folder):
    for kind in ("bert", "roberta"):
        words = masked_lm.whole_words(masked_lm.load_masked(str(masked_folder(kind))))
        assert {"queen", "hats", "wrote"} <= set(words.values())
        assert not {"ing", "##ing", ".", "", "[SEP]", "ueen"} & set(words.values())


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("prompts", [(), ["Who?", "", "Say"]], ids=["plain", "prompted"])
def test_each_neighbour_has_one_word_changed(tiny, architecture, masked_folder, kind, prompts):
    model = tiny(architecture)
    tokens = read_texts(model, prompts=prompts)
    found = rows_of(neighbour_texts(scorer(model), tokens, count=9, masked_model=str(masked_folder(kind))))
    words = set(masked_lm.whole_words(masked_lm.load_masked(str(masked_folder(kind)))).values())
    for i, near in enumerate(found[:2]):
        first, own, text = int(tokens.first[i]), own_ids(tokens, i), tokens.texts.scored[i]
        assert len(near) == len({tuple(row) for row in near}) == 9
        for row in near:
            assert row != own
            assert row[:first] == own[:first]
        led = bool(prompts and prompts[i]) or architecture == "gemma"
        for row in near:
            after = model.tokenizer.decode(row[first if led else 0 :])
            assert after != text
            changed = [(a, b) for a, b in zip(text.split(), after.split(), strict=True) if a != b]
            ((a, b),) = changed
            a, b = a.strip(".,:!"), b.strip(".,:!")
            assert b.lower() in words
            assert b[0].isupper() == a[0].isupper()
    assert found[2] == [own_ids(tokens, 2)]  # no word in it that is one token of the masked model
    assert np.isfinite(neighbours(scorer(model), tokens, read_back(found)).loglik).all()


def read_back(rows):
    from byheart.core.evidence import NeighborTokens

    flat = [row for near in rows for row in near]
    return NeighborTokens(
        ids=np.array([t for row in flat for t in row]),
        offsets=np.cumsum([0, *map(len, flat)]),
        starts=np.cumsum([0, *map(len, rows)]),
    )


def test_a_new_word_has_the_case_of_the_replaced_word():
    assert masked_lm._replace_word("in LISBON.", (3, 9), "oslo") == "in OSLO."
    assert masked_lm._replace_word("in Lisbon.", (3, 9), "oslo") == "in Oslo."
    assert masked_lm._replace_word("I sing", (0, 1), "we") == "We sing"
    assert masked_lm._replace_word("in lisbon", (3, 9), "Oslo") == "in Oslo"


def test_parts_of_words_and_numbers_are_not_words():
    assert masked_lm._is_word("the queen's", (4, 9))
    for text, span in (("queens", (0, 5)), ("inked", (1, 5)), ("R2", (0, 1)), ("20", (0, 2)), ("a", (0, 0))):
        assert not masked_lm._is_word(text, span)


def test_neighbours_by_words_do_not_depend_on_order_or_batch(tiny, masked_folder):
    model, name = tiny("llama"), str(masked_folder("bert"))
    there = rows_of(neighbour_texts(scorer(model), read_texts(model), count=5, masked_model=name))
    order = [1, 2, 0]
    turned = read_texts(model, [STRINGS[i] for i in order])
    assert rows_of(neighbour_texts(scorer(model, 17), turned, count=5, masked_model=name)) == [there[i] for i in order]


def test_a_text_longer_than_the_masked_models_context_is_read_in_windows(masked_folder):
    model = masked_lm.load_masked(str(masked_folder("bert")))
    text = " ".join([SENTENCE] * 5)
    windows = masked_lm._windows(model, text)
    assert len(windows) > 2
    assert all(len(ids) <= 38 for ids, _ in windows)
    changed = list(masked_lm.texts_with_one_word_swapped(model, masked_lm.whole_words(model), text, 9, 4096))
    places = {next(p for p, (a, b) in enumerate(zip(text, t, strict=False)) if a != b) for t in changed}
    assert max(places) > 0.9 * len(text)


def test_a_truncated_text_keeps_its_end_and_neighbors_are_not_longer(tiny, masked_folder):
    model = tiny("llama")
    seen = []
    text = "The queen wrote letters to 🙂🙂🙂🙂🙂🙂"
    complete = len(model.tokenizer(text)["input_ids"])
    for most in range(complete - 18, complete + 1):  # cut in the middle of a character, mostly
        tokens = read_texts(model, [text], most=most)
        own = own_ids(tokens, 0)
        plain = model.tokenizer(tokens.texts.scored[0], add_special_tokens=False)["input_ids"]
        seen.append(plain != own)
        (near,) = rows_of(neighbour_texts(scorer(model), tokens, count=4, masked_model=str(masked_folder("bert"))))
        assert all(len(row) <= most for row in near)
        # Only longer texts lose their end.
        kept = [row for row in near if len(row) < most]
        assert all(row[-3:] == own[-3:] for row in kept)
    assert any(seen)


def other(folder, edit, tmp_path):
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    edit(changed)
    return str(changed)


def refused(tiny, name, match):
    model = tiny("llama")
    with pytest.raises(ModelError, match=match) as error:
        neighbour_texts(scorer(model), read_texts(model), masked_model=name)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 450


def test_a_model_without_masked_predictions_raises_an_error(tiny, tiny_folder, masked_folder, tmp_path):
    refused(tiny, str(tiny_folder("llama")), "llama is not a masked language model")
    shape = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    edit = BartForConditionalGeneration(BartConfig(vocab_size=300, **shape)).save_pretrained
    refused(tiny, other(tiny_folder("llama"), edit, tmp_path), "bart is not a masked language model")
    headless = BertModel(CONFIGS["bert"]).save_pretrained
    refused(tiny, other(masked_folder("bert"), headless, tmp_path / "x"), "is not in the weights")
    refused(tiny, "no/such/folder", "no/such/folder.* does not exist")
    refused(tiny, "nobody/bert", "nobody/bert.*the Hub did not return it")


def test_pickled_weights_and_remote_code_raise_an_error(tiny, masked_folder, tmp_path):
    def pickled(folder):
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    refused(tiny, other(masked_folder("bert"), pickled, tmp_path), "pickled")

    def remote(folder):
        config = json.loads((folder / "config.json").read_text())
        config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine", "AutoModelForMaskedLM": "mine.Mine"}}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "mine.py").write_text("raise SystemExit('ran')")

    refused(tiny, other(masked_folder("bert"), remote, tmp_path / "x"), "cannot be loaded")


@pytest.mark.parametrize("method", ["lora", "prefix"])
def test_a_study_uses_a_masked_model_and_rejects_others_before_training(tiny_folder, masked_folder, tmp_path, method):
    requested = {
        "name": "words",
        "models": str(tiny_folder("gpt2")),
        "datasets": [{"records": {"count": 60}}],
        "data": {"train": 12, "members": 10, "nonmembers": 12, "validation": 6, "max_tokens": 60},
        "methods": [method],
        "training": {"epochs": 1, "batch_size": 4},
        "attacks": ["neighbourhood", "spv"],
        "observations": [{"neighbour_texts": {"count": 3, "masked_model": str(masked_folder("bert"))}}],
        "metrics": ["auc"],
    }
    results = byheart.run(requested, store=tmp_path / "store")
    assert not results.failed, results.failed
    assert len([r for r in results.rows if r.metric == "auc" and not r.initialized]) == 4
    requested["observations"] = [{"neighbour_texts": {"masked_model": str(tiny_folder("llama"))}}]
    with pytest.raises(ModelError, match="llama is not a masked"):
        byheart.run(requested, store=tmp_path / "fresh")
    assert not list((tmp_path / "fresh").glob("evidence/*"))


KINDS = {
    "of people": ("old", "young", "tall", "quiet", "proud", "blind", "brave", "poor"),
    "people": ("sailor", "doctor", "painter", "teacher", "farmer", "singer", "baker", "judge"),
    "deeds": ("saw", "met", "called", "thanked", "left", "hid", "paid", "fed"),
    "towns": ("Lisbon", "Oslo", "Cairo", "Lima", "Quito", "Minsk", "Turin", "Bergen"),
}
KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}


def grammatical(count, seed):
    """Sentences of one grammar, each word sampled from its class."""
    chance = np.random.default_rng(seed)
    for _ in range(count):
        a, b = (f"{chance.choice(KINDS['of people'])} {chance.choice(KINDS['people'])}" for _ in range(2))
        yield f"The {a} {chance.choice(KINDS['deeds'])} the {b} in {chance.choice(KINDS['towns'])}."


@pytest.fixture(scope="module", params=["taught", "untaught"])
def grammarian(request, tmp_path_factory):
    """A small BERT before and after pre-training on the grammar by masking words."""
    torch.manual_seed(0)
    vocabulary = [*SPECIAL, "the", "in", ".", *(word.lower() for word in KIND_OF)]
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(vocabulary)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = ENDS
    model = AutoModelForMaskedLM.from_config(
        BertConfig(
            vocab_size=len(vocabulary), hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4
        )
    )
    place = tmp_path_factory.mktemp(request.param)
    if request.param == "taught":
        ids = torch.tensor([e.ids for e in made.encode_batch(list(grammatical(2000, 0)))])
        steps = torch.optim.AdamW(model.parameters(), lr=3e-3)
        for _ in range(150):
            true = ids[torch.randint(len(ids), (48,))]
            hidden = (torch.rand(true.shape) < 0.25) & (true > 4)
            loss = model(input_ids=true.masked_fill(hidden, 4), labels=true.masked_fill(~hidden, -100)).loss
            steps.zero_grad()
            loss.backward()
            steps.step()
    model.eval().save_pretrained(place)
    special = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    PreTrainedTokenizerFast(tokenizer_object=made, mask_token="[MASK]", **special).save_pretrained(place)
    return request.param, str(place)


def test_neighbors_of_a_grammar_model_have_words_of_the_same_class(tiny, grammarian):
    """Neighbors by a trained masked model are plausible sentences, those by a random model are not."""
    taught, name = grammarian
    model = tiny("llama")
    strings = list(grammatical(12, 1))
    tokens = read_texts(model, [*strings, "0 " * 60], most=128)  # the last is the longest, so that no neighbour is cut
    found = rows_of(neighbour_texts(scorer(model), tokens, count=10, masked_model=name))
    alike = []
    for text, near in zip(strings, found[:-1], strict=True):
        assert len(near) == 10
        for row in near:
            ((old, new),) = [
                p for p in zip(text.split(), model.tokenizer.decode(row).split(), strict=True) if p[0] != p[1]
            ]
            old, new = old.strip(".").title(), new.strip(".").title()
            kinds = {w.title(): k for w, k in KIND_OF.items()}
            alike.append(kinds.get(old) == kinds.get(new))
    assert np.mean(alike) > 0.9 if taught == "taught" else np.mean(alike) < 0.5, np.mean(alike)
