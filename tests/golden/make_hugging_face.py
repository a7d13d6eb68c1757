#!/usr/bin/env python3
"""Writes hugging_face/: a small random model of each family, saved by Hugging Face's `transformers`, with the
log-probabilities that it gives to every id after every token of a text, in fp32; and frequencies of rotary positions.

Needs torch, transformers (5.24.0) and safetensors, in an environment of its own; no test does.
Usage: make_hugging_face.py OUTPUT_DIR
"""
import json
import pathlib
import sys

import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

VOCABULARY, LENGTH = 32, 24
SIZES = {"vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
         "rms_norm_eps": 1e-5, "bos_token_id": None, "eos_token_id": None}


def rope(kind, theta=10000.0, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


YARN = {"factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
MODELS = {
    "llama2": ("Llama", {"num_key_value_heads": 4, "head_dim": 4, **rope("linear", factor=2.0)}),
    "llama3": ("Llama", {"tie_word_embeddings": True, **rope("llama3", 500000.0, **LLAMA3)}),
    "mistral": ("Mistral", {"sliding_window": 6, **rope("default")}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True, **rope("yarn", **YARN)}),
    "qwen3": ("Qwen3", rope("default", 1000000.0)),
    "gpt2": ("GPT2", {}),
}
# Of heads of 128 channels, as the hub's models have them.
FREQUENCIES = {
    "linear": rope("linear", 10000.0, factor=4.0),
    "llama3": rope("llama3", 500000.0, **LLAMA3),
    "yarn": rope("yarn", 1000000.0, factor=4.0, original_max_position_embeddings=32768),
    "yarn_not_rounded": rope("yarn", 150000.0, factor=32.0, original_max_position_embeddings=4096, truncate=False,
                             beta_fast=24.0, beta_slow=2.0),
    "yarn_mscale": rope("yarn", 10000.0, factor=40.0, original_max_position_embeddings=4096, mscale=0.707,
                        mscale_all_dim=1.2),
}


def make(family, options):
    if family == "GPT2":
        config = transformers.GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_head=4, n_layer=2, n_positions=32,
                                         bos_token_id=None, eos_token_id=None)
        return transformers.GPT2LMHeadModel(config)
    config = getattr(transformers, family + "Config")(**{**SIZES, **options})
    return getattr(transformers, family + "ForCausalLM")(config)


def save(name, family, options, folder):
    model = make(family, options).eval()
    generator = torch.Generator().manual_seed(sorted(MODELS).index(name))
    with torch.no_grad():
        for weight in model.parameters():  # norms and biases too
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.3)
    tokens = torch.randint(VOCABULARY, (1, LENGTH), generator=generator)
    model.save_pretrained(folder, max_shard_size="12KB" if name == "llama3" else "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)
    for file in folder.iterdir():
        file.chmod(0o644)
    with torch.no_grad():
        logits = model(tokens).logits[0]
    expected = {"tokens": tokens[0].tolist(), "log_probabilities": torch.log_softmax(logits, -1).tolist()}
    (folder / "expected.json").write_text(json.dumps(expected))


def frequencies(options):
    config = transformers.LlamaConfig(**{**SIZES, "hidden_size": 512, "head_dim": 128,
                                         "max_position_embeddings": 131072, **options})
    kind = options["rope_parameters"]["rope_type"]
    values, factor = ROPE_INIT_FUNCTIONS[kind](config, "cpu")
    return {"frequencies": values.tolist(), "factor": factor}


def main():
    out = pathlib.Path(sys.argv[1])
    for name, (family, options) in MODELS.items():
        save(name, family, options, out / name)
    table = {name: frequencies(options) for name, options in FREQUENCIES.items()}
    (out / "frequencies.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
