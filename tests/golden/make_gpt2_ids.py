#!/usr/bin/env python3
"""Writes gpt2_ids.json: texts and the ids that Hugging Face's `tokenizers` gives them with GPT-2's files.

  pip install tokenizers==0.23.3
  python make_gpt2_ids.py VOCAB_JSON MERGES_TXT > gpt2_ids.json
"""
import json
import random
import sys

from tokenizers import Tokenizer, models, pre_tokenizers

HAND_MADE = [
    "", " ", "  ", "\n", "\n\n", "\t", "a", " a", "  a", "a ", "a  ", "Hello world", "Hello  world\n", "hello\n\n\nworld",
    "I'm you're he's we've they'll I'd don't", "I'M YOU'RE HE'S WE'VE", "'s't're've'm'll'd", "' s", "'''s", "it''s",
    "'", "''", "'r", "'l", "'v", "'lx", " 's", "a'", "<|endoftext|>", "a<|endoftext|>b", "3.14159", "1,000,000", "x2y",
    "2x", "abc123def", " 123", "  123", "\u00b2\u00b3\u00b9", "\u00bd cup", "\u2167 Caesar", "\u0661\u0662\u0663", "\u4e00\u4e8c\u4e09", "\u3007",
    "a\u00a0b", "a\u00a0\u00a0b", "\u00a0a", " \u00a0a", "\u00a0 a", "a\u3000b", "\u3000\u3000a", "a\u0085b", "\u0085", "a\u2028b\u2029c",
    "a\u200bb", "\ufeffbom", "a\u1680b\u180eb", "a\u202fb\u205fc", "a\x1cb\x1d\x1e\x1f c", "a\x00b", "\x7f", "\r\n\r\n", "\x0b\x0c",
    "na\u00efve caf\u00e9", "e\u0301 cafe\u0301", "\u0301", " \u0301a", "a\u0300\u0301\u0302b", "\u00df\u1e9e", "\u01c5", "\u02b0\u02c6", "\u00aa\u00ba\u00b5",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5", "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002", "\u3053\u3093\u306b\u3061\u306f \u4e16\u754c", "\uc548\ub155\ud558\uc138\uc694", "\U00020000\U0002a6df", "\U0002ebf0\U0002ee5d", "\U000323af\U000323b0",
    "\U0001f600", " \U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f", "a\U0001f600b1\U0001f600",
    "\U0001d400\U0001d7d8", "\ufffd", "\uffff", "\U0010ffff", "\ue000", "\u0378", "\u1c89\ua7cb\U000105c0", "\U0001ccf0",
    "def f(x):\n    return x  # two\n\n\nclass A:\n\tpass\n", "if (a && b) { c[i]++; }", "https://example.com/a?b=c&d=%20", "_snake_case __init__",
    "----------------", "================================\n", "......", "?!?!", "$5.00 \u20ac5 \u00a35", "\u201cquoted\u201d \u2018s \u2019s \u2014 dash",
    " " * 7, " " * 70 + "x", "\n" * 65, "a" * 63, "a" * 64, "a" * 65, "ab" * 300, "antidisestablishmentarianism" * 20, "9" * 200,
    "\u00e9" * 80, "\u4e2d" * 70, " \t \n \t x", "x \n", "x\n ", "tab\tseparated\tvalues", "UPPER lower Title cAmElCase",
]
ALPHABET = list("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789") + list(" " * 12) + list("\n\n\t'''.,!?-_<|>\"(){}") + [
    "\u00a0", "\u3000", "\u0085", "\u2003", "\u00e9", "\u00fc", "\u0416", "\u05d0", "\u4e2d", "\u6587", "\u3042", "\u0301", "\u00bd", "\u0665", "\u216b", "\u2460",
    "\U0001f600", "\u200d", "\u20ac", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", " the", " and", "ing", "tion", "\x00", "\x1f", "\ufeff",
]


def main():
    tokenizer = Tokenizer(models.BPE.from_file(sys.argv[1], sys.argv[2]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    generator = random.Random(20)
    texts = HAND_MADE + ["".join(generator.choices(ALPHABET, k=generator.randint(1, 60))) for _ in range(200)]
    lines = [json.dumps({"text": text, "ids": tokenizer.encode(text).ids}) for text in texts]
    sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n")


main()
