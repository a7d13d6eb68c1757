#!/usr/bin/env python3
"""What benchmarks/train_step.py takes from our programs: the log, the checkpoint and the samples that it hands to its peer.

usage: train_step.py BIN_FOLDER [CASE...]
"""
import json
import pathlib
import sys

from cases import Cases

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benchmarks"))
import train_step  # noqa: E402
from whole_step.checkpoint import Checkpoint, peer_name, qkv_rows  # noqa: E402
from whole_step.shape import CASES  # noqa: E402

cases = Cases()
case = cases.case
STEPS = train_step.STEPS_AT_REST


class Options:
    device, intervals = "cpu", 1

    def __init__(self, binaries):
        self.program, self.inspect = binaries / "pretrain_gpt", binaries / "inspect"


def bench(binaries, folder):
    return train_step.Case(Options(binaries), "tiny", CASES["tiny"], folder)


def expect(condition, sentence):
    if not condition:
        raise AssertionError(sentence)


@case
def weights_are_those_the_peer_has(tiny):
    losses, folder = tiny.rest(tiny.corpus("text", STEPS, even=False))
    expect(len(losses) == STEPS and all(6.0 < loss < 8.0 for loss in losses), f"losses {losses}")
    checkpoint, shape = Checkpoint(folder), tiny.shape
    shapes = {peer_name(name): checkpoint.shape(stored) for name, stored in checkpoint.weights().items()}
    rows = qkv_rows(shape)[-1][1]
    expected = {"embedding.weight": (shape.vocab, shape.hidden), "final_norm.weight": (shape.hidden,),
                "output.weight": (shape.vocab, shape.hidden)}
    for layer in range(shape.layers):
        expected |= {f"layers.{layer}.{name}.weight": size for name, size in {
            "attention_norm": (shape.hidden,), "mlp_norm": (shape.hidden,), "qkv": (rows, shape.hidden),
            "projection": (shape.hidden, shape.hidden), "gate_up": (2 * shape.ffn, shape.hidden),
            "down": (shape.hidden, shape.ffn)}.items()}
    expect(shapes == expected, f"expected {expected}, got {shapes}")


@case
def steps_at_rest_change_nothing(tiny):
    text = tiny.corpus("text", STEPS, even=False)
    _, folder = tiny.rest(text)
    again = train_step.Case(tiny.o, "tiny", tiny.shape, tiny.folder / "again")
    log = again.train("one", text, 1, train_step.AT_REST, "--log-interval", 1, "--save", again.folder, "--save-interval", 1,
                      "--no-save-optim")
    expect(len(log.milliseconds) == 1, f"{log}")
    after = {name: bytes(p[-1]) for name, s in Checkpoint(folder).weights().items() for p in Checkpoint(folder).pieces(s)}
    before = {name: bytes(p[-1]) for name, s in Checkpoint(again.folder / "iter_0000001").weights().items()
              for p in Checkpoint(again.folder / "iter_0000001").pieces(s)}
    expect(after == before, "weights changed at rest")


@case
def samples_are_as_many_as_the_steps_read(tiny):
    lines = tiny.samples(tiny.corpus("text", STEPS, even=False), STEPS).read_text().splitlines()
    lengths = {len(json.loads(line)["tokens"]) for line in lines}
    expect(len(lines) == STEPS * tiny.shape.samples and lengths == {tiny.shape.sequence + 1}, f"{len(lines)} samples of {lengths}")


if __name__ == "__main__":
    cases.main(bench)
