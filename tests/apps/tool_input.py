#!/usr/bin/env python3
"""What preprocess_data and train_tokenizer do with inputs and outputs that are odd, wrong or in use, and with signals: both
read the same, tell what they leave out, refuse before work what cannot be, and leave nothing behind.

  tool_input.py BIN_FOLDER [NAME...]
"""
import bz2
import gzip
import json
import lzma
import os
import re
import signal
import subprocess

from bad_input import Bench, null
from cases import Cases

cases = Cases()
case = cases.case
TEXT = "the cat sat on the mat and the dog sat on the log\n" * 50


def vocabulary(b, name="vocabulary"):
    (b.folder / "t.txt").write_text(TEXT)
    b.demand(b.run("train_tokenizer", "--input", b.folder / "t.txt", "--vocab-size", 270, "--output-dir", b.folder / name), 0)
    return b.folder / name / "vocab.json", b.folder / name / "merges.txt"


@case
def tokenizer_json_as_vocabulary(b):
    vocab, merges = vocabulary(b)
    other = b.folder / "tokenizer.json"
    other.write_text(json.dumps({"model": {"vocab": {"x" * 1000000: 0, **json.loads(vocab.read_text())}}}))
    text = b.demand(b.run("preprocess_data", "--input", b.folder / "t.txt", "--output-prefix", b.folder / "p", "--vocab-file",
                          other, "--merge-file", merges), 2, r"it is a tokenizer\.json")
    assert len(text) < 800, f"a message of {len(text)} bytes"


def both_tools(b, code, *patterns, input, expected=(), stdin=None):
    """Runs the two tools that take text over one input; gives what they said."""
    said = [b.demand(b.run("preprocess_data", "--input", input, "--output-prefix", b.folder / "p", "--append-eod", *null(500),
                           input=stdin), code, *patterns),
            b.demand(b.run("train_tokenizer", "--input", input, "--vocab-size", 300, "--output-dir", b.folder / "v",
                           input=stdin), code, *patterns)]
    for text, pattern in zip(said, expected):
        assert re.search(pattern, text), f"no {pattern!r} in\n{text}"


@case
def one_input_two_tools(b):
    line = '\ufeff{"text":"9","text":["1 2","3"],"score":NaN,"id":%s}\r\n' % ("1" * 30)
    found = [r"Processed 2 documents", r"from 2 documents"]
    data = (line * 2).encode()
    for name, content in {"a.jsonl": data, "b.json": data, "c": gzip.compress(data), "d.jsonl.gz": gzip.compress(data),
                          "e.jsonl.bz2": bz2.compress(data), "f": bz2.compress(data)}.items():
        (b.folder / name).write_bytes(content)
        both_tools(b, 0, input=b.folder / name, expected=found)
    both_tools(b, 0, input="-", expected=found, stdin=data.decode())
    (b.folder / "x.jsonl.xz").write_bytes(lzma.compress(data))
    both_tools(b, 2, r"xz -dc .*x\.jsonl\.xz \|", input=b.folder / "x.jsonl.xz")
    for name in ("/dev/zero", "/dev/urandom"):
        both_tools(b, 2, r"a device", input=name)


@case
def outputs_that_cannot_be_made(b):
    (b.folder / "t.txt").write_text("1 2 3 " * 100)
    for place in ("/proc/zz", b.folder / "t.txt" / "below"):
        text = b.demand(b.run("train_tokenizer", "--input", b.folder / "t.txt", "--output-dir", place), 2, r"--output-dir")
        assert "unexpected" not in text, text
        b.demand(b.run("preprocess_data", "--input", b.folder / "t.txt", "--output-prefix", f"{place}/p", *null(50)), 2,
                 r"--output-prefix")
    vocab, merges = vocabulary(b, "own")
    before = merges.read_bytes()
    b.demand(b.run("train_tokenizer", "--input", merges, "--output-dir", merges.parent), 2, r"would be overwritten")
    assert merges.read_bytes() == before


@case
def tools_that_are_ended_leave_nothing(b):
    pipe, prefix = b.folder / "pipe", b.folder / "out" / "p"
    os.mkfifo(pipe)
    line = [str(b.binaries / "preprocess_data"), "--input", str(pipe), "--output-prefix", str(prefix), "--append-eod", *null(50)]

    def start():
        """A run that has made its output and waits for its input: nobody has opened the pipe for writing."""
        run = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert "waiting for" in run.stdout.readline()
        return run

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        run = start()
        for _ in range(3):  # timeout and Slurm signal the process and then its group
            run.send_signal(number)
        said = run.communicate()[0]
        assert run.returncode == 1 and "nothing was written" in said, f"{number}: {run.returncode} {said}"
        assert not list(prefix.parent.iterdir()), list(prefix.parent.iterdir())
    run = start()
    b.demand(subprocess.run(line, capture_output=True, text=True, timeout=120), 2, r"another run is writing it")
    run.kill()
    run.communicate()
    (b.folder / "t.txt").write_text("1 2 3")
    line[2] = str(b.folder / "t.txt")
    b.demand(subprocess.run(line, capture_output=True, text=True, timeout=120), 0)
    assert sorted(p.suffix for p in prefix.parent.iterdir()) == [".bin", ".idx"], list(prefix.parent.iterdir())


@case
def results_that_cannot_be_printed(b):
    def into_full(*program):
        with open("/dev/full", "w") as full:
            run = subprocess.run([str(b.binaries / program[0]), *program[1:]], stdout=full, stderr=subprocess.PIPE, text=True,
                                 timeout=120)
        assert run.returncode == 1 and "what was asked for is not printed" in run.stderr, f"{program}: {run}"
        return run.stderr

    programs = ("inspect", "preprocess_data", "train_tokenizer", "ringrun", "check_cp_config", "pretrain_gpt", "profile_cp",
                "verify_cp", "cp_demo_minimal")
    topics = [(p, f"--help={t}") for p in ("pretrain_gpt", "check_cp_config") for t in ("load", "markdown", "parallel")]
    for program in [(p, "--help") for p in programs] + topics + [
            ("inspect",), ("inspect", "data", "--help"), ("inspect", "checkpoint", "--help"), ("check_cp_config",),
            ("check_cp_config", "--support-table")]:
        assert "log lines" not in into_full(*program), program
    # What compares or measures has the verdict for its result.
    small = ["--num-layers", "1", "--hidden-size", "32", "--num-attention-heads", "4", "--seq-length", "32",
             "--max-position-embeddings", "32", "--micro-batch-size", "1", "--global-batch-size", "2", "--train-iters", "2", "--lr",
             "1e-3", "--mock-data", *null(50)]
    into_full("cp_demo_minimal")
    into_full("profile_cp", *small, "--repeats", "2")
    into_full("verify_cp", *small)
    b.demand(b.run("inspect", "data", "x", "--samples", -1), 2, r"expected at least 1, got -1")


if __name__ == "__main__":
    cases.main(Bench)
