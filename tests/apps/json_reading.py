#!/usr/bin/env python3
"""Holds what preprocess_data and train_tokenizer read from lines of JSON against what Python's json.loads reads, line by
line over some thousand odd ones: the same documents, and each line that is none told or counted.

  json_reading.py BIN_FOLDER
"""
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

LINES = 4000
ODD_VALUES = ["NaN", "Infinity", "-Infinity", "1e999", "-0", "1" * 400, "1.5E-3", "null", "true", "[]", "{}", '""', "[[1],{}]",
              '{"text":"inner"}', "[" * 300 + "]" * 300, '"\\ud800"', '"\\u0000"', "0.1e+2", '{"a":{"text":[1,2]}}']
BROKEN_VALUES = ["01", "1.", ".5", "tru", "nan", "+1", "'x'", "[1,]", '{"a":1,}', '"\\x"', '"\t"', "-", "1e", "[", '{"a" 1}',
                 '"\\u12g4"', "undefined", '"open', "\x00", "[1 2]", "Infinityx", "--1", '"\\uD83"']
PIECES = ["plain words", "a", " ", "\\n", "\\\"", "\\\\", "\\/", "\\u00e9", "é", "\U0001f600", "\\ud83d\\ude00", "\\ud83d", "\\ude00x",
          "\\ude00\\ud83d", "\u2028", "\x7f", "\\u0000", "x" * 70, "日本", "\\ud83d\\ud83d\\ude00", "\\b\\f\\r\\t", "\\uFFFF"]
TEXT_VALUES = ["5", "null", "true", "{}", "NaN", '["a", 1]', '[["a"]]', '["a", null]', "[]", '["one", "two "]', '[ "" , "b" ]',
               '["\\ud800"]']


def space(dice):
    return "".join(dice.choice(["", "", "", " ", "\t"]) for _ in range(2))


def text_value(dice):
    if dice.random() < 0.15:
        return dice.choice(TEXT_VALUES)
    return '"' + "".join(dice.choice(PIECES) for _ in range(dice.randrange(6))) + '"'


def member(dice):
    kind = dice.random()
    key = "text" if kind < 0.5 else dice.choice(["id", "text2", "", "TEXT", "te\\u0078t", "t\\ud800"])
    if key in ("text", "te\\u0078t"):
        value = text_value(dice)
    else:
        value = dice.choice(BROKEN_VALUES) if dice.random() < 0.04 else dice.choice(ODD_VALUES)
    return f'{space(dice)}"{key}"{space(dice)}:{space(dice)}{value}{space(dice)}'


def line(dice):
    kind = dice.random()
    if kind < 0.03:
        return dice.choice(["", "   ", "[]", '"text"', "nothing", "{", "}", '{"text":"a"} x', '{"text":"a"}{"text":"b"}',
                            '{"text":"a",}', "{,}", "null", '{"text"}', "{'text':'a'}", "5", "NaN"])
    return f"{space(dice)}{{{','.join(member(dice) for _ in range(dice.randrange(5)))}}}{space(dice)}"


def texts_by_python(source):
    """What json.loads makes of one line: the texts of its document, or None if it is none."""
    try:
        value = json.loads(source)["text"]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        return None
    # A half of a surrogate pair is no character that UTF-8 could hold.
    return ["".join("\ufffd" if 0xd800 <= ord(c) < 0xe000 else c for c in text) for text in texts]


def documents_of(prefix, byte_of_id):
    """The documents of PREFIX.bin and .idx, each a list of its sequences as bytes."""
    index = pathlib.Path(f"{prefix}.idx").read_bytes()
    tokens = pathlib.Path(f"{prefix}.bin").read_bytes()
    sequences, boundaries = struct.unpack_from("<QQ", index, 18)
    lengths = struct.unpack_from(f"<{sequences}i", index, 34)
    ends = struct.unpack_from(f"<{boundaries}q", index, 34 + 12 * sequences)
    ids = iter(struct.unpack(f"<{len(tokens) // 2}H", tokens))
    texts = [bytes(byte_of_id[next(ids)] for _ in range(length)) for length in lengths]
    return [texts[begin:end] for begin, end in zip(ends, ends[1:])]


def run(program, *arguments):
    done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        sys.exit(f"json_reading: {program.name}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def byte_tokenizer(binaries, folder):
    """A vocabulary of the 256 bytes alone: its flags, and the byte of each id."""
    (folder / "one.txt").write_text("x")
    run(binaries / "train_tokenizer", "--input", folder / "one.txt", "--vocab-size", 257, "--output-dir", folder / "bytes")
    vocabulary = json.loads((folder / "bytes" / "vocab.json").read_text())
    themselves = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {chr(b): b for b in themselves}
    letters.update({chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in themselves)})
    flags = ["--vocab-file", folder / "bytes" / "vocab.json", "--merge-file", folder / "bytes" / "merges.txt"]
    return flags, {number: letters[token] for token, number in vocabulary.items() if token in letters}


def merges_of(binaries, folder, source):
    run(binaries / "train_tokenizer", "--input", source, "--vocab-size", 400, "--output-dir", folder / "learned")
    return (folder / "learned" / "merges.txt").read_bytes()


def main():
    binaries, dice = pathlib.Path(sys.argv[1]).resolve(), random.Random(14)
    faults = []
    with tempfile.TemporaryDirectory(prefix="ringtron_json_") as name:
        folder = pathlib.Path(name)
        flags, byte_of_id = byte_tokenizer(binaries, folder)
        lines = [line(dice) for _ in range(LINES)]
        source = folder / "odd.jsonl"
        source.write_bytes("\n".join(lines).encode())
        read = [(l, texts_by_python(l)) for l in lines if l.strip()]
        expected = [[t.encode() for t in texts if t] for _, texts in read if texts is not None]
        said = run(binaries / "preprocess_data", "--input", source, "--output-prefix", folder / "odd", "--workers", 2, *flags)
        got = documents_of(folder / "odd_text_document", byte_of_id)
        bad = sum(texts is None for _, texts in read)
        print(f"{len(lines)} lines: {len(expected)} documents, {bad} that are none")
        if bad < LINES // 20 or len(expected) < LINES // 4:
            faults.append("the lines are too one-sided to show anything")
        if f"{bad} bad lines were skipped" not in said:
            faults.append(f"expected {bad} bad lines to be told, got\n{said}")
        if got != expected:
            at = next((i for i, pair in enumerate(zip(got, expected)) if pair[0] != pair[1]), min(len(got), len(expected)))
            faults.append(f"{len(got)} documents instead of {len(expected)}; document {at} differs: "
                          f"{got[at:at + 1]} instead of {expected[at:at + 1]}")
        clean = folder / "clean.jsonl"
        clean.write_text("".join(json.dumps({"text": t}) + "\n" for _, texts in read if texts is not None for t in texts))
        if merges_of(binaries, folder, source) != merges_of(binaries, folder, clean):
            faults.append("train_tokenizer learns something else from the odd lines than from their documents")
    print("\n".join(faults) or "json_reading: passed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
