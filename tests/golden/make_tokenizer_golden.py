#!/usr/bin/env python3
"""Trains small tokenizers of each kind and writes them, with the ids that their own libraries give, to tokenizers/.

  pip install tokenizers==0.23.3 tiktoken==0.14.0
  python make_tokenizer_golden.py

tests/tokenizer/hugging_face_tokenizer_test.cpp and tiktoken_tokenizer_test.cpp compare Ringtron's ids with these.
"""
import base64
import json
import pathlib
import random

import tiktoken
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = pathlib.Path(__file__).parent / "tokenizers"
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + REST
QWEN2 = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + REST
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = [r"[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+", r"[^\r\n\p{L}\p{N}]?" + UPPER + "+" + LOWER + "*"]
CASED_REST = REST.replace(r"[\r\n]*", r"[\r\n/]*")
GPT4O = "|".join(word + CONTRACTION + "?" for word in CASED) + r"|\p{N}{1,3}" + CASED_REST
TIKTOKEN = {"v1": r"[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
            "v2": "|".join(CASED) + r"|\p{N}" + CASED_REST}
OTHER = r"[!-/:-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

TEXTS = [
    "", " ", "\n", "the quick brown fox", "The  quick   fox\n\n jumps ", "it's IT'S we'll 'twas d'oh y'all'd", "'\u017f 'S 'LL 'vE",
    "12345 1,234.56 0x1F \u00bd\u00b2 \u0663\u0664\u0665 \u2167", "a\n\n\nb \r\n c\r\r d \n", "HTTPResponse camelCase ABCd aBC snake_case",
    "http://a.b/c?d=e&f= // /* */ \n/", "Z\u00fcrich \u0141\u00f3d\u017a \u03a3\u038a\u03a3 \u0130stanbul \u00df", "e\u0301 \u00e9 A\u030a \u00c5 \u212b \u1e9b\u0323 \u0301x",
    "\u6771\u4eac \u306f\u3058\u3081\u307e\u3057\u3066 \uc548\ub155 \u1100\u1161\u11a8 \u0928\u092e\u0938\u094d\u0924\u0947 \u0915\u094d\u0937\u093f", "\U0001f600 \U0001f468\u200d\U0001f469 \U0001f3f3\ufe0f a\ufe0f \U000e0100b",
    "<|endoftext|>", "a<|endoftext|>b <|im_start|> x", "<s> x </s>", "<s><s>y", "\u2581 \u2581\u2581 _ \u00a0 \u3000\u2028\x85\u180e\u200b", "new york", "a new york b",
    "anew york new yorker", " <mask>", "a  <mask> b", "<end>   x", "<0x0A> <unk> \ufffd \ufeff", "\ufb01 \ufb03 \u00aa \u01c5 \u02b0 \u24b6 \U0001f130", "a" * 200, " " * 70,
    "\u0301" * 9, "ab" * 100, "1" * 10, "x\x00y\x01", "tab\tand\x0bmore\x0c.", "the the the theater", "banana ananas"]


def random_texts(count):
    rng = random.Random(3)
    parts = "a A 1 ' s T \n \r \t / . , ! é \u0301 ß ſ Σ 東 한 न ् 😀 ½ \u00a0 \u3000 the 're <s> ▁ _".split(" ") + [" ", "  "]
    return ["".join(rng.choice(parts) for _ in range(rng.randrange(1, 16))) for _ in range(count)]


def corpus():
    rng = random.Random(5)
    words = "the quick brown fox jumps over lazy dogs it's we'll number theater banana new york Zürich 東京 HTTP 2024 1000 12345 camelCase HTTPResponse it'S".split()
    for _ in range(3000):
        yield " ".join(rng.choice(words) + rng.choice(["", "", ",", ".", "\n", "/\n", "s", "ed"]) for _ in range(12)) + f" {rng.randrange(9999)}\n"


def save(tokenizer, name, config):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def byte_bpe(name, pattern, specials, normalizer=None, begin=None, digits=False, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    if normalizer:
        tokenizer.normalizer = normalizer
    parts = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)]
    if digits:
        parts.insert(0, pre_tokenizers.Digits(individual_digits=True))
    if pattern:
        parts.insert(0, pre_tokenizers.Split(Regex(pattern), "isolated"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts) if len(parts) > 1 else parts[0]
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens([AddedToken(special, normalized=False, special=True) for special in specials])
    if begin:
        template = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))])
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(), template])
    return save(tokenizer, name, {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": specials[-1]})


def with_changes(tokenizer, pre_tokenizer=True, **model):
    """The tokenizer with other settings of its model; of the special tokens that it was trained with three are added ones."""
    document = json.loads(tokenizer.to_str())
    document["model"].update(model)
    if not pre_tokenizer:
        document["pre_tokenizer"] = None
    document["added_tokens"] = document["added_tokens"][:3]
    return Tokenizer.from_str(json.dumps(document))


BYTES = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]


def llama(name, normalizer, pre_tokenizer):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=360, special_tokens=BYTES, show_progress=False))
    tokenizer = with_changes(tokenizer, pre_tokenizer=False, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    end = {"content": "</s>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return save(tokenizer, name, {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": end})


def unigram(name, fallback):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    specials = BYTES if fallback else BYTES[:3]
    tokenizer.train_from_iterator(
        corpus(), trainers.UnigramTrainer(vocab_size=len(specials) + 90, special_tokens=specials, unk_token="<unk>", show_progress=False))
    return save(with_changes(tokenizer, byte_fallback=fallback), name, {"eos_token": "</s>"})


def whole_words():
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("merged_with_next"), pre_tokenizers.Digits(individual_digits=False)])
    tokenizer.train_from_iterator(
        corpus(), trainers.BpeTrainer(vocab_size=170, special_tokens=["[UNK]", "[SEP]"], show_progress=False))
    tokenizer.add_tokens([AddedToken("new york", single_word=True, normalized=True), AddedToken("<mask>", lstrip=True, special=True),
                          AddedToken("<end>", rstrip=True)])
    return save(tokenizer, "words", {"sep_token": "[SEP]"})


def tiktoken_ids(byte_tokenizer, texts):
    """A vocabulary from the merges of a byte-level BPE: single bytes in their order, then the merged tokens in theirs."""
    document = json.loads(byte_tokenizer.to_str())
    byte_of = {char: byte for byte, char in bytes_to_unicode().items()}
    merged = [bytes(byte_of[c] for c in left + right) for left, right in document["model"]["merges"]]
    tokens = list(dict.fromkeys([bytes([byte]) for byte in range(256)] + merged))
    entries = [{"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": token.decode(errors="replace")}
               for rank, token in enumerate(tokens)]
    (OUT / "tiktoken.json").write_text(json.dumps(entries))
    (OUT / "plain.tiktoken").write_text("".join(f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens)))
    special = ["<unk>", "<s>", "</s>", "<mask>", "<pad>", "<cls>", "<sep>"] + [f"<SPECIAL_{id}>" for id in range(7, 12)]
    ids = {}
    for version, pattern in TIKTOKEN.items():
        encoding = tiktoken.Encoding("golden", pat_str=pattern, special_tokens={token: id for id, token in enumerate(special)},
                                     mergeable_ranks={token: rank + len(special) for rank, token in enumerate(tokens)})
        ids[version] = [encoding.encode(text, allowed_special="all") for text in texts]
    return {"special": len(special), "vocab_size": len(special) + len(tokens), "ids": ids}


def bytes_to_unicode():
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return {byte: chr(byte) for byte in kept} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def main():
    prepend = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizers = {
        "gpt2": byte_bpe("gpt2", None, ["<|endoftext|>"]),
        "llama3": byte_bpe("llama3", LLAMA3, ["<|begin_of_text|>", "<|endoftext|>"], begin="<|begin_of_text|>", ignore_merges=True),
        "qwen2": byte_bpe("qwen2", QWEN2, ["<|im_start|>", "<|endoftext|>"], normalizer=normalizers.NFC()),
        "gpt4o": byte_bpe("gpt4o", GPT4O, ["<|endoftext|>"]),
        "other": byte_bpe("other", OTHER, ["<|endoftext|>"], digits=True),
        "llama2": llama("llama2", prepend, None),
        "mistral": llama("mistral", None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
        "unigram": unigram("unigram", False),
        "unigram_bytes": unigram("unigram_bytes", True),
        "words": whole_words(),
    }
    texts = TEXTS + random_texts(60)
    golden = {"texts": texts, "tiktoken": tiktoken_ids(tokenizers["llama3"], texts),
              "ids": {name: [tokenizer.encode(text).ids for text in texts] for name, tokenizer in tokenizers.items()}}
    (OUT / "ids.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


main()
