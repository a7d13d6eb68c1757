"""Whether two programs train the same model: losses of each step from the same weights on the same samples.

At rest: steps that change no weight. The losses differ by the rounding of a forward pass, and a fault of the model shows there.
In training: gradients and optimizer show, with more noise: AdamW's first steps have the size of the learning rate whatever the
gradient is, so rounding turns the sign of small ones. Each has runs with a fault in them, which must be noticed.
"""
import dataclasses
import math

from whole_step.shape import LOGIT_DEVIATION


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What is taken for rounding. `training` is the least that counts as a difference: how far apart rounding moves two runs that
    train grows with the loss's fall and with the number of steps, so the limit is half of what the smallest fault makes in the same
    steps (half the learning rate), which grows with them too."""
    at_rest: float
    training: float


# What was measured: docs/benchmarks.md, "Whole steps against torch.compile". On a CPU both sides are fp32, and the log has seven digits.
BOUNDS = {"cuda": Bounds(0.2, 1e-3), "cpu": Bounds(1e-3, 1e-5)}


def at_rest(ours, other, tokens):
    """How far logits are apart, as a share of their own spread; about 1 for models that have nothing in common. A step's loss is
    the mean over `tokens`, so that many unrelated differences make one of it. What all steps differ by alike is left out: a
    narrower type raises every loss by a little, and the other distance has it."""
    differences = [a - b for a, b in zip(ours, other)]
    mean = sum(differences) / len(differences)
    return root(sum((d - mean)**2 for d in differences) / (len(differences) - 1) * tokens) / LOGIT_DEVIATION


def training(ours, other):
    """How far losses are apart, relative to the first."""
    squares = [(a - b)**2 for a, b in zip(ours, other)]
    return root(sum(squares) / len(squares)) / ours[0]


def root(square):
    """Not a number is as far away as can be."""
    return math.sqrt(square) if square == square else math.inf


def compare(ours, peer, tokens, bounds):
    """`ours`: {"at rest": losses, "training": losses}; `peer`: the same, and "faults at rest" and "faults in training" by name.
    Sentences of what was found, and of what speaks against both being the same; none if nothing does."""
    found, against = [], []

    def judge(what, distance, bound, faulty):
        found.append(f"{what}: {distance:.2g} apart, bound {bound:.2g}")
        if (distance <= bound) == faulty:
            against.append(f"{found[-1]}: " + ("a fault that the check does not see, so it proves nothing" if faulty else "more than rounding"))

    for part in ("at rest", "training"):
        if len(ours[part]) != len(peer[part]):
            against.append(f"{part}: expected as many steps of both, got {len(ours[part])} and {len(peer[part])}")
    judge("at rest", at_rest(ours["at rest"], peer["at rest"], tokens), bounds.at_rest, False)
    limit = max(bounds.training, min(training(ours["training"], losses) for losses in peer["faults in training"].values()) / 2)
    judge("training", training(ours["training"], peer["training"]), limit, False)
    for name, losses in peer["faults at rest"].items():
        judge(f"a fault, {name}", at_rest(ours["at rest"], losses, tokens), bounds.at_rest, True)
    for name, losses in peer["faults in training"].items():
        judge(f"a fault, {name}", training(ours["training"], losses), bounds.training, True)
    return found, against
