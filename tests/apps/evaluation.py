#!/usr/bin/env python3
"""What evaluation prints, writes and refuses, on the real programs.

  evaluation.py BIN_FOLDER [NAME...]
"""
import json
import re
import subprocess

from bad_data import Bench as DataBench, write_corpus
from cases import Cases

cases = Cases()
case = cases.case
RESULT = r" validation{} loss at iteration {}{} \| lm loss value: (\S+) \| lm loss PPL: (\S+) \| \n"


class Bench(DataBench):
    def sets(self):
        """Training data and two sets of 31 and 12 samples, which no batch divides."""
        return ["--train-data-path", self.corpus("train", 40), "--valid-data-path",
                self.corpus("web", 10, seed=2), self.corpus("code", 4, seed=3)]

    def ranks(self, count, *arguments):
        return subprocess.run([str(self.binaries / "ringrun"), "--nproc-per-node", str(count), *self.command(*arguments)],
                              capture_output=True, text=True, timeout=240)


def losses(text, name="", at=2, behind=""):
    found = re.findall(RESULT.format(re.escape(name), at, behind), text)
    assert len(found) == 1, f"{len(found)} results of validation{name} at {at}{behind} in\n{text}"
    return tuple(map(float, found[0]))


@case
def several_sets_each_read_whole(b):
    flags = [*b.sets(), "--test-data-path", b.corpus("test", 5), "--train-iters", 2, "--eval-interval", 2, "--eval-iters", 1,
             "--full-validation", "--multiple-validation-sets", "--validation-set-names", "web", "code"]
    board, lines = b.folder / "board", b.folder / "log.jsonl"
    text = b.demand(b.train(*flags, "--tensorboard-dir", board, "--log-validation-ppl-to-tensorboard", "--log-jsonl", lines), 0,
                    r"    validation: None\n", r"-{60,}\n validation-web loss at iteration 2 \|.*\n-{60,}\n",
                    r" validation loss at iteration 2 on test set \|", absent=["validation-0", "starts over"])
    web, code = losses(text, "-web"), losses(text, "-code")
    assert web != code
    assert losses(text, "-web", behind=" on validation set") == web, "a set that is read whole has one loss"
    events = b"".join(file.read_bytes() for file in board.iterdir())
    for tag in ("lm loss validation-web", "lm loss validation-web vs samples", "lm loss validation-code ppl",
                "lm loss final validation-code", "lm loss test"):
        assert tag.encode() in events, tag
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    on = {(r["on"], r.get("set")): r["lm loss"] for r in records if r["kind"] == "evaluation"}
    assert set(on) == {("validation", "web"), ("validation", "code"), ("final validation", "web"),
                       ("final validation", "code"), ("test", None)}, on
    assert f"{on['validation', 'web']:.6E}" == f"{web[0]:.6E}" and on["validation", "web"] != web[0], "not in full"
    # In another layout with other batches, none of which fits.
    other = ["--eval-micro-batch-size", 3, "--eval-global-batch-size", 12]
    for layout in (["--context-parallel-size", 2], [], ["--pipeline-model-parallel-size", 2, "--num-layers", 2]):
        model = ["--num-layers", 2] if "--num-layers" in layout else []
        text = b.demand(b.ranks(2, *flags, *other, *layout), 0)
        one = b.demand(b.train(*flags, *model), 0) if model else None
        for name, loss in (("-web", web), ("-code", code)):
            expected = losses(one, name) if one else loss
            got = losses(text, name)
            assert abs(got[0] - expected[0]) < 2e-6 * expected[0], (layout, name, got, expected)


@case
def sets_go_on_where_a_checkpoint_ends(b):
    """Not read whole: each set from the same sample on, and a resumed run evaluates what the unbroken one does."""
    flags = [*b.sets(), "--eval-interval", 1, "--eval-iters", 2, "--eval-micro-batch-size", 2, "--eval-global-batch-size", 4,
             "--multiple-validation-sets", "--train-iters", 4]
    save = ["--save", b.folder / "ck", "--save-interval", 2]
    unbroken = b.demand(b.train(*flags, *save), 0)
    resumed = b.demand(b.train(*flags, "--load", b.folder / "ck", "--ckpt-step", 2), 0, absent=["loss at iteration 2 "])
    for at in (3, 4):
        for name in ("-0", "-1"):
            assert losses(resumed, name, at) == losses(unbroken, name, at), (at, name)
    assert losses(unbroken, "-0", 3) != losses(unbroken, "-0", 4)
    assert losses(resumed, "-0", 4, " on validation set") == losses(unbroken, "-0", 4, " on validation set")


@case
def the_first_evaluation_may_come_late(b):
    flags = ["--data-path", b.corpus("c", 60), "--split", "80,20,0", "--train-iters", 6, "--eval-interval", 2, "--eval-iters", 1]
    b.demand(b.train(*flags, "--start-eval-at-iter", 4), 0, r"    validation: 4\n", r"loss at iteration 4 \|", r"iteration 6 \|",
             r"loss at iteration 6 on validation set", absent=[r"loss at iteration 2 \|"])
    b.demand(b.train(*flags), 0, r"    validation: 8\n", r"loss at iteration 2 \|")
    b.demand(b.train(*flags, "--start-eval-at-iter", 99), 0, r"on validation set", absent=[r"loss at iteration \d+ \|"])


@case
def what_cannot_be_is_refused(b):
    train = ["--train-data-path", b.corpus("train", 20), "--train-iters", 1]
    a, c = b.corpus("a", 5), b.corpus("c", 6)
    several = [*train, "--multiple-validation-sets", "--full-validation", "--valid-data-path"]

    def refused(pattern, *flags):
        b.demand(b.train(*flags), 2, pattern, absent=[r"iteration +1/"])

    refused(r"expected --valid-data-path without weights", *several, 0.5, a, 0.5, c)
    refused(r"Number of --validation-set-names \(1\) must match the number of validation datasets \(2\)", *several, a, c,
            "--validation-set-names", "one")
    refused(r"--full-validation: expected corpora without weights", *train, "--full-validation", "--valid-data-path", 0.5, a, 0.5, c)
    refused(r"each corpus of which is a set, got --data-path", "--data-path", a, "--train-iters", 1, "--multiple-validation-sets")
    refused(r"--validation-set-names requires --multiple-validation-sets", *train, "--validation-set-names", "x")
    refused(r"eval_global_batch_size \(2\) must be divisible by eval_micro_batch_size \(4\)", *train, "--eval-micro-batch-size", 4)


@case
def a_set_without_data_is_left_out(b):
    empty = write_corpus(b.folder / "empty", [])
    flags = ["--train-data-path", b.corpus("train", 20), "--valid-data-path", empty, b.corpus("a", 5), "--train-iters", 2,
             "--multiple-validation-sets", "--full-validation", "--eval-interval", 1]
    b.demand(b.train(*flags), 0, r"WARNING.*empty is empty", r"WARNING: validation set 0 has no data", r"validation-1 loss",
             absent=["validation-0 loss"])


if __name__ == "__main__":
    cases.main(Bench)
