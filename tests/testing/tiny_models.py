"""Tiny random models of four architectures, with a real byte-level tokenizer."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MixtralConfig,
    PreTrainedTokenizerFast,
)

from testing.made_up import SENTENCES

CONFIGS = {
    "gpt2": GPT2Config(vocab_size=300, n_positions=128, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2),
    "llama": LlamaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    ),
    "gemma": GemmaConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=128,
    ),
    "mixtral": MixtralConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=128,
        tie_word_embeddings=False,
    ),
}


def tiny_tokenizer(*, bos):
    """A byte-level BPE trained on the sentences; with `bos` it adds <s> before every text, as Gemma's does."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<unk>", "<s>", "</s>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator(SENTENCES, trainer)
    if bos:
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    # No pad token on purpose: byheart must not need one.
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def save_tiny_model(name, folder):
    """Write the tiny model of an architecture into a folder, the same one every time."""
    torch.manual_seed(7)
    _save_amplified(AutoModelForCausalLM.from_config(CONFIGS[name]), folder)
    tiny_tokenizer(bos=name == "gemma").save_pretrained(folder)


def save_wide_model(folder, *, tied=True):
    """Write a llama wide enough for weights of 4 bits, which are packed in blocks of 64, and its tokenizer."""
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
    )
    _save_amplified(AutoModelForCausalLM.from_config(config), folder)
    tiny_tokenizer(bos=False).save_pretrained(folder)


def _save_amplified(model, folder):
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(4.0)  # far from uniform, so that a wrong row or a wrong mask shows
    model.save_pretrained(folder)


def memorize(model, tokenizer, strings, *, passes):
    """Train a tiny model until it generates these texts."""
    batch = [torch.tensor([tokenizer(s)["input_ids"]]) for s in strings]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    # A rate that ends at zero: every processor's model then generates its texts.
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, total_iters=len(batch) * passes)
    for ids in batch * passes:
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
