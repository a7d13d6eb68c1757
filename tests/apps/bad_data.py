#!/usr/bin/env python3
"""Data that cannot be what was asked for, tried on the real programs: each case must be told in one clear message, and
nothing that was trained may be lost.

  bad_data.py BIN_FOLDER [NAME...]
"""
import array
import os
import pathlib
import re
import struct
import subprocess

from cases import Cases

VOCAB = 50
END = VOCAB - 1
MODEL = ["--num-layers", "1", "--hidden-size", "32", "--num-attention-heads", "4", "--seq-length", "32",
         "--max-position-embeddings", "32", "--micro-batch-size", "1", "--global-batch-size", "2", "--lr", "1e-3",
         "--eval-iters", "0", "--log-interval", "1", "--tokenizer-type", "NullTokenizer", "--vocab-size", str(VOCAB)]
cases = Cases()
case = cases.case


def write_corpus(prefix, documents, code=8):
    """A corpus of these documents; code 8 is uint16, 5 is int64."""
    kind, item = {8: ("H", 2), 5: ("q", 8)}[code]
    lengths = [len(d) for d in documents]
    offsets = [item * sum(lengths[:i]) for i in range(len(lengths))]
    pathlib.Path(f"{prefix}.bin").write_bytes(b"".join(array.array(kind, d).tobytes() for d in documents))
    pathlib.Path(f"{prefix}.idx").write_bytes(
        b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, code, len(lengths), len(lengths) + 1) +
        struct.pack(f"<{len(lengths)}i", *lengths) + struct.pack(f"<{len(lengths)}q", *offsets) +
        struct.pack(f"<{len(lengths) + 1}q", *range(len(lengths) + 1)))
    return prefix


def documents(count, length=100, end=True, seed=1):
    out = [[(seed * 17 + 31 * d + p) % END for p in range(length)] for d in range(count)]
    return [d + [END] for d in out] if end else out


class Bench:
    """Where one case works: programs, a folder of its own, and what to demand."""

    def __init__(self, binaries, folder):
        self.binaries, self.folder = binaries, folder
        os.environ["OMP_NUM_THREADS"] = "1"

    def corpus(self, name, *args, **kwargs):
        return write_corpus(self.folder / name, documents(*args, **kwargs))

    def command(self, *arguments):
        return [str(self.binaries / "pretrain_gpt"), *MODEL, *map(str, arguments)]

    def train(self, *arguments):
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=120)

    def demand(self, result, code, *patterns, absent=()):
        text = result.stdout + result.stderr
        assert result.returncode == code, f"expected exit code {code}, got {result.returncode}\n{text}"
        for pattern in patterns:
            assert re.search(pattern, text), f"no {pattern!r} in\n{text}"
        for pattern in absent:
            assert not re.search(pattern, text), f"{pattern!r} in\n{text}"
        return text


@case
def validation_of_a_set_too_small_for_its_split(b):
    ten, big = b.corpus("ten", 10), b.corpus("big", 200)
    common = ["--split", "99,1,0", "--train-iters", 2, "--eval-iters", 2, "--eval-interval", 1]
    b.demand(b.train("--data-path", ten, *common), 0, r"WARNING.*valid.*ten", r"iteration +2/", absent=["validation loss"])
    b.demand(b.train("--data-path", 1, big, 1, ten, *common), 0, r"WARNING.*valid.*ten", r"validation loss at iteration 2")
    b.demand(b.train("--data-path", ten, big, *common), 0, r"WARNING.*valid.*ten", r"validation loss at iteration 2")
    b.demand(b.train("--data-path", big, "--split", "100,0,0", *common[2:]), 0, r"no validation", r"iteration +2/")


@case
def validation_past_its_end_starts_over(b):
    c, save = b.corpus("c", 100), ["--save", b.folder / "ck", "--save-interval", 4]
    common = ["--data-path", c, "--split", "98,2,0", "--lr-decay-iters", 20, "--eval-iters", 2, *save]
    b.demand(b.train(*common, "--train-iters", 8, "--eval-interval", 1), 0, absent=["starts over"])
    b.demand(b.train(*common, "--train-iters", 12, "--eval-interval", 4, "--load", b.folder / "ck",
                     "--override-opt-param-scheduler"), 0, r"WARNING: validation has \d+ samples.*starts over",
             r"validation loss at iteration 12")
    assert (b.folder / "ck" / "iter_0000012").is_dir()


@case
def corpora_without_weights_are_read_once(b):
    a, c = b.corpus("a", 3), b.corpus("c", 4)
    result = b.train("--data-path", a, c, "--split", "100,0,0", "--train-iters", 100)
    b.demand(result, 2, r"wants 200 samples", r"weights", absent=[r"iteration +1/"])
    b.demand(b.train("--data-path", 1, a, 1, c, "--split", "100,0,0", "--train-iters", 100), 0, r"iteration +100/")


@case
def an_empty_corpus_is_named(b):
    empty = write_corpus(b.folder / "empty", [])
    b.demand(b.train("--data-path", empty, "--train-iters", 2), 2, r"empty is empty", absent=["--split.*empty is"])
    b.demand(b.train("--data-path", 0, b.corpus("c", 20), "--train-iters", 2), 2, r"weights above 0")


@case
def reset_flags_without_an_end_of_document(b):
    flags = ["--train-iters", 2, "--split", "100,0,0", "--reset-position-ids", "--eod-mask-loss"]
    warning = r"WARNING.*--reset-position-ids, --eod-mask-loss.*--append-eod"
    b.demand(b.train("--data-path", b.corpus("without", 20, end=False), *flags), 0, warning)
    b.demand(b.train("--data-path", b.corpus("with", 20), *flags), 0, absent=[warning])


@case
def nothing_but_masked_tokens_is_told_once(b):
    flags = ["--train-iters", 3, "--split", "100,0,0", "--eod-mask-loss"]
    warning = r"no token of this iteration counts in the loss.*--eod-mask-loss"
    ends = write_corpus(b.folder / "ends", [[END]] * 300)
    result = b.train("--data-path", ends, *flags)
    b.demand(result, 0, warning, r"lm loss: 0\.0")
    assert len(re.findall(warning, result.stdout + result.stderr)) == 1, result.stderr
    b.demand(b.train("--data-path", b.corpus("other", 20), *flags), 0, absent=[warning])


@case
def a_wide_token_is_named_as_it_is(b):
    wide = write_corpus(b.folder / "wide", [[1, 2, 2**40] * 20] * 10, code=5)
    b.demand(b.train("--data-path", wide, "--split", "100,0,0", "--train-iters", 2), 2, f"token {2**40} at position")
    result = subprocess.run([str(b.binaries / "inspect"), "data", str(wide), "--split", "100,0,0", "--format", "json",
                             "--seq-length", "32", "--global-batch-size", "1", "--train-iters", "2", "--samples", "2"],
                            capture_output=True, text=True, timeout=60)
    b.demand(result, 2, f"token {2**40} at position", absent=[r"\[.*-1"])


@case
def no_file_where_a_corpus_should_be(b):
    c = b.corpus("c", 20)
    for make, word in ((os.mkfifo, "named pipe"), (os.mkdir, "folder"), (lambda p: os.symlink("/dev/zero", p), "device")):
        for half in (".bin", ".idx"):
            path = pathlib.Path(f"{b.folder / word.split()[0]}{half}")
            other = path.with_suffix(".idx" if half == ".bin" else ".bin")
            other.write_bytes(pathlib.Path(f"{c}{other.suffix}").read_bytes())
            make(path)
            b.demand(b.train("--data-path", path.with_suffix(""), "--train-iters", 2), 2, rf"{path.name}, it is a {word}")
            (os.rmdir if word == "folder" else os.unlink)(path)
            other.unlink()


@case
def an_absent_corpus_is_told_before_the_model_is_built(b):
    c = b.corpus("c", 20)
    for flags in (["--data-path", "nope"], ["--data-path", c, "nope"], ["--train-data-path", c, "--valid-data-path", "nope", "--eval-iters", 1]):
        b.demand(b.train("--train-iters", 2, *flags), 2, r"expected the file nope\.idx", absent=["building GPT model"])


@case
def other_content_under_the_same_name(b):
    c, flags = b.corpus("c", 200), ["--split", "100,0,0", "--save", b.folder / "ck", "--save-interval", 2, "--override-opt-param-scheduler"]
    line = r"WARNING: the corpus \S+c has other content than it had when the checkpoint was made: "
    b.demand(b.train("--data-path", c, *flags, "--train-iters", 2), 0)
    again = ["--data-path", c, *flags, "--load", b.folder / "ck", "--train-iters"]
    b.demand(b.train(*again, 4), 0, absent=[line])
    b.corpus("c", 200, seed=2)
    b.demand(b.train(*again, 6), 0, line + "200 documents with 20200 tokens then, 200 documents with 20200 tokens now, of another checksum")
    b.demand(b.train(*again, 8), 0, absent=[line])
    b.corpus("c", 150, seed=2)
    b.demand(b.train(*again, 10), 0, line + "200 documents with 20200 tokens then, 150 documents with 15150 tokens now")
    b.corpus("c", 160, seed=2)
    b.demand(b.train(*again, 12, "--finetune"), 0, absent=[line])  # other data is what it is for


@case
def data_that_shrinks_under_a_run(b):
    """On two ranks; the last complete step is saved."""
    for half in (".bin", ".idx"):
        name = f"c{half[1]}"
        c, folder = b.corpus(name, 2000), b.folder / f"ck{half}"
        command = [str(b.binaries / "ringrun"), "--nproc-per-node", "2",
                   *b.command("--data-path", c, "--split", "100,0,0", "--train-iters", 20000, "--save", folder,
                              "--save-interval", 100000)]
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        text = ""
        for line in run.stdout:
            text += line
            if re.search(r"iteration +3/", line):
                os.truncate(f"{c}{half}", 1000)
        assert run.wait() == 1, text
        assert re.search(rf"{name}\{half} (was cut off|can no longer be read)", text), text
        saved = re.search(r"iteration (\d+) is saved before the run ends", text)
        assert saved and (folder / f"iter_{int(saved[1]):07d}" / "manifest.json").is_file(), text


@case
def other_data_on_one_rank(b):
    """Two hosts with files of one name and size: one token differs."""
    for rank, changed in ((0, False), (1, True)):
        folder = b.folder / f"host{rank}"
        folder.mkdir()
        docs = documents(50)
        docs[25][3] += changed
        write_corpus(folder / "c", docs)
    shell = ["/bin/sh", "-c", f'cd {b.folder}/host$RANK && exec "$@"', "sh"]
    command = ["--data-path", "c", "--split", "100,0,0", "--train-iters", 2, "--data-cache-path", "cache"]
    result = subprocess.run([str(b.binaries / "ringrun"), "--nproc-per-node", "2", *shell, *b.command(*command)],
                            capture_output=True, text=True, timeout=120)
    b.demand(result, 2, r"not all ranks have the same data", r"rank 1 on \S+", r"host1/c: ", absent=[r"iteration +1/"])


if __name__ == "__main__":
    cases.main(Bench)
