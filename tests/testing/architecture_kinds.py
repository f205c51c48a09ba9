"""Tiny random models of many architectures, with the config of each."""

import transformers as t

TEXT = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
HEADS = {**TEXT, "head_dim": 8}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
WINDOW = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
MROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}


def without(settings, *names):
    return {n: v for n, v in settings.items() if n not in names}


def gemma3():
    return t.Gemma3Config(
        text_config={**HEADS, **WINDOW},
        vision_config={"model_type": "siglip_vision_model", **VISION},
        mm_tokens_per_image=4,
        image_token_index=297,
        boi_token_index=298,
        eoi_token_index=299,
    )


def llava():
    return t.LlavaConfig(
        text_config=t.LlamaConfig(**TEXT),
        vision_config=t.CLIPVisionConfig(**VISION, projection_dim=32),
        image_token_index=299,
        vision_feature_layer=-1,
    )


def qwen2_vl():
    return t.Qwen2VLConfig(
        text_config={**TEXT, "rope_parameters": MROPE},
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 4,
            "mlp_ratio": 2,
            "patch_size": 14,
        },
        image_token_id=297,
        video_token_id=298,
        vision_start_token_id=295,
        vision_end_token_id=296,
    )


def qwen2_5_vl():
    return t.Qwen2_5_VLConfig(
        text_config={**TEXT, "rope_parameters": MROPE},
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "out_hidden_size": 32,
            "num_heads": 4,
            "intermediate_size": 48,
            "patch_size": 14,
            "fullatt_block_indexes": [1],
        },
        image_token_id=297,
        video_token_id=298,
        vision_start_token_id=295,
        vision_end_token_id=296,
    )


def smolvlm():
    return t.SmolVLMConfig(
        text_config=t.LlamaConfig(**TEXT),
        vision_config={**VISION},
        image_token_id=299,
        scale_factor=2,
        pad_token_id=0,
    )


def paligemma():
    return t.PaliGemmaConfig(
        text_config=t.GemmaConfig(**HEADS),
        vision_config=t.SiglipVisionConfig(**VISION),
        image_token_index=299,
        projection_dim=32,
    )


def mistral3():
    return t.Mistral3Config(
        text_config=t.MistralConfig(**HEADS),
        vision_config={"model_type": "pixtral", **VISION, "head_dim": 8},
        image_token_index=299,
        vision_feature_layer=-1,
    )


def qwen2_audio():
    return t.Qwen2AudioConfig(
        text_config=t.Qwen2Config(**TEXT),
        audio_config={"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 48},
        audio_token_index=299,
    )


OLD = {"vocab_size": 300, **IDS}
CONFIGS = {
    "Llama": lambda: t.LlamaConfig(**TEXT),
    "Mistral": lambda: t.MistralConfig(**TEXT, sliding_window=6),
    "Mixtral": lambda: t.MixtralConfig(**TEXT, num_local_experts=4, num_experts_per_tok=2),
    "Qwen2": lambda: t.Qwen2Config(**TEXT),
    "Qwen2-MoE": lambda: t.Qwen2MoeConfig(**TEXT, **EXPERTS, shared_expert_intermediate_size=16),
    "Qwen3": lambda: t.Qwen3Config(**HEADS),
    "Qwen3-MoE": lambda: t.Qwen3MoeConfig(**HEADS, **EXPERTS),
    "Gemma": lambda: t.GemmaConfig(**HEADS),
    "Gemma 2": lambda: t.Gemma2Config(**HEADS, **WINDOW, query_pre_attn_scalar=8),
    "Gemma 3, text": lambda: t.Gemma3TextConfig(**HEADS, **WINDOW, query_pre_attn_scalar=8),
    "Phi": lambda: t.PhiConfig(**TEXT),
    "Phi-3": lambda: t.Phi3Config(**TEXT),
    "OLMo 2": lambda: t.Olmo2Config(**TEXT),
    "Granite": lambda: t.GraniteConfig(**TEXT),
    "Cohere": lambda: t.CohereConfig(**TEXT),
    "SmolLM3": lambda: t.SmolLM3Config(**TEXT),
    "StableLM": lambda: t.StableLmConfig(**TEXT),
    "StarCoder2": lambda: t.Starcoder2Config(**TEXT),
    "GPT-2": lambda: t.GPT2Config(**OLD, n_positions=128, n_embd=32, n_layer=2, n_head=4),
    "GPT-Neo": lambda: t.GPTNeoConfig(
        **OLD,
        max_position_embeddings=128,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=8,
    ),
    "GPT-NeoX (Pythia)": lambda: t.GPTNeoXConfig(**without(TEXT, "num_key_value_heads")),
    "GPT-J": lambda: t.GPTJConfig(**OLD, n_positions=128, n_embd=32, n_layer=2, n_head=4, rotary_dim=8),
    "OPT": lambda: t.OPTConfig(
        **OLD,
        hidden_size=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        word_embed_proj_dim=32,
    ),
    "BLOOM": lambda: t.BloomConfig(**OLD, hidden_size=32, n_layer=2, n_head=4),
    "Falcon": lambda: t.FalconConfig(**OLD, hidden_size=32, num_hidden_layers=2, num_attention_heads=4),
    "MPT": lambda: t.MptConfig(**OLD, d_model=32, n_heads=4, n_layers=2, max_seq_len=128),
    "Mamba": lambda: t.MambaConfig(**OLD, hidden_size=32, num_hidden_layers=2, state_size=4),
    "Gemma 3, images and text": gemma3,
    "Llava": llava,
    "Qwen2-VL": qwen2_vl,
    "Qwen2.5-VL": qwen2_5_vl,
    "SmolVLM": smolvlm,
    "PaliGemma": paligemma,
    "Mistral 3, images and text": mistral3,
    "Qwen2-Audio": qwen2_audio,
    "T5": lambda: t.T5Config(
        **without(OLD, "bos_token_id"), decoder_start_token_id=0, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4
    ),
    "BERT": lambda: t.BertConfig(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
    ),
    "ModernBERT": lambda: t.ModernBertConfig(**without(TEXT, "num_key_value_heads"), cls_token_id=1, sep_token_id=2),
}
"""A function that returns a tiny config of each architecture."""
CLASSES = {"T5": t.AutoModelForSeq2SeqLM, "BERT": t.AutoModelForMaskedLM, "ModernBERT": t.AutoModelForMaskedLM}
"""Auto classes of models that are no causal language models."""


def auto_class(name):
    """transformers' auto class of an architecture, as its users load it."""
    multimodal = hasattr(CONFIGS[name](), "text_config")
    return CLASSES.get(name, t.AutoModelForMultimodalLM if multimodal else t.AutoModelForCausalLM)
