#!/usr/bin/env python3
"""Measures torch's own context parallel attention on the shapes that benchmarks/context_parallel measures.

    ringrun --no-prefix --nproc-per-node 2 python3 benchmarks/torch_context_parallel.py --output torch.json
    ringrun --no-prefix --nproc-per-node 2 build/cuda/benchmarks/context_parallel --peer torch.json

Every mode of torch.distributed.tensor.experimental.context_parallel: the backends of scaled_dot_product_attention
times the two ways to rotate keys and values, load balancing on, causal, forward and backward. Outputs and gradients
of a mode are compared with the same backend's on one rank first; a mode that differs, or that torch refuses, is named
and not timed. Fresh data, warm-up, repeats, rounds, time, spread and operations are those of docs/benchmarks.md.

Reads RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT (ringrun, torchrun). Exit code 1 if for some shape no
mode ran and was right. torch 2.11 has no context parallelism on CPUs: --device cpu says so, and times nothing.
"""
import argparse
import contextlib
import dataclasses
import datetime
import json
import math
import os
import pathlib
import sys
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.tensor.experimental import context_parallel
from torch.distributed.tensor.experimental._attention import _cp_options, context_parallel_unshard, set_rotate_method
from torch.nn.attention import SDPBackend, sdpa_kernel

BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION,
            "efficient": SDPBackend.EFFICIENT_ATTENTION}
ROTATIONS = ("allgather", "alltoall")
ROUNDS = 2  # each measures everything once, so that a machine that slows down slows all of it
SEQUENCE = 2  # dimension of the sequence in torch's (sample, head, position, element)
TOLERANCE = {torch.bfloat16: 1e-2, torch.float32: 1e-5}  # relative to the norm, as in accuracy.cpp
TYPE_NAMES = {torch.bfloat16: "bf16", torch.float32: "fp32"}


@dataclasses.dataclass(frozen=True)
class Heads:
    query: int
    key_value: int
    size: int

    def __str__(self):
        return f"{self.query}/{self.key_value} of {self.size}"


@dataclasses.dataclass(frozen=True)
class Mode:
    backend: str
    rotation: str
    # Key/value heads are repeated before attention, for a backend that wants as many as there are query heads.
    repeats_heads: bool = False

    def __str__(self):
        return f"{self.backend} {self.rotation}" + (" (heads repeated)" if self.repeats_heads else "")


@dataclasses.dataclass
class Setting:
    options: argparse.Namespace
    rank: int
    ranks: int
    device: torch.device
    type: torch.dtype
    mesh: dist.DeviceMesh

    def say(self, line):
        if self.rank == 0:
            print(line, flush=True)

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def of_slowest_rank(self, numbers):
        times = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.all_reduce(times, dist.ReduceOp.MAX)
        return times.tolist()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", help="JSON file for --peer of benchmarks/context_parallel")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tokens", help="per rank (default 8192,16384,32768 on GPUs, 256,512,1024 on CPUs)")
    parser.add_argument("--heads", type=int, help="query heads (default 32 on GPUs, 8 on CPUs)")
    parser.add_argument("--head-size", type=int, help="(default 128 on GPUs, 64 on CPUs)")
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--rotations", default=",".join(ROTATIONS))
    parser.add_argument("--repeats", type=int, help="timed steps in each of two rounds (default 20 on GPUs, 5 on CPUs)")
    parser.add_argument("--warmup", type=int, help="steps before them (default 5 on GPUs, 1 on CPUs)")
    parser.add_argument("--inject", action="store_true",
                        help="exchanges nothing while outputs are compared: they must be found to differ")
    o = parser.parse_args()
    gpu = o.device == "cuda"
    o.tokens = [int(word) for word in (o.tokens or ("8192,16384,32768" if gpu else "256,512,1024")).split(",")]
    o.heads, o.head_size = o.heads or (32 if gpu else 8), o.head_size or (128 if gpu else 64)
    o.repeats = (20 if gpu else 5) if o.repeats is None else o.repeats
    o.warmup = (5 if gpu else 1) if o.warmup is None else o.warmup
    o.backends, o.rotations = o.backends.split(","), o.rotations.split(",")
    for given, known, flag in ((o.backends, BACKENDS, "--backends"), (o.rotations, ROTATIONS, "--rotations")):
        if not set(given) <= set(known):
            parser.error(f"{flag}: expected some of {','.join(known)}, got {','.join(given)}")
    if o.output and not pathlib.Path(o.output).absolute().parent.is_dir():
        parser.error(f"--output: no folder for {o.output}")
    if o.heads % 8 != 0:
        parser.error(f"--heads: expected a multiple of 8, got {o.heads}")
    if o.repeats < 1 or o.warmup < 0 or any(tokens < 2 or tokens % 2 for tokens in o.tokens):
        parser.error("expected --repeats of 1 or more, --warmup of 0 or more and even --tokens")
    return o


def make_setting(options):
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    gpu = options.device == "cuda"
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    if "MASTER_ADDR" not in os.environ:  # one process without a launcher
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29555")
    dist.init_process_group("nccl" if gpu else "gloo", rank=rank, world_size=ranks,
                            timeout=datetime.timedelta(minutes=3), device_id=device if gpu else None)
    mesh = dist.init_device_mesh(options.device, (ranks,))
    torch.manual_seed(1234 + rank)
    if not _cp_options.enable_load_balance:
        raise RuntimeError("expected torch's context parallelism to balance load by default")
    return Setting(options, rank, ranks, device, torch.bfloat16 if gpu else torch.float32, mesh)


def device_name(device):
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with open("/proc/cpuinfo") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown CPU")


def print_heading(setting, what="torch context_parallel, load balanced"):
    o, versions = setting.options, f"torch {torch.__version__}"
    if setting.device.type == "cuda":
        nccl = ".".join(map(str, torch.cuda.nccl.version()))
        versions += f", cuDNN {torch.backends.cudnn.version()}, CUDA {torch.version.cuda}, NCCL {nccl}"
    setting.say(f"- machine: {setting.ranks} ranks on {device_name(setting.device)}")
    setting.say(f"- versions: {versions}; threads of a rank: {torch.get_num_threads()}")
    setting.say(f"- {o.warmup} warm-up and {o.repeats} timed steps in each of two rounds, every step with new random "
                "tensors; median of the slowest rank, spread = (p90 - min) / median")
    setting.say(f"- {what}, {TYPE_NAMES[setting.type]}, causal, forward and backward")


def attend(mode, q, k, v):
    if mode.repeats_heads:
        k, v = (x.repeat_interleave(q.size(1) // x.size(1), dim=1) for x in (k, v))
    with sdpa_kernel(BACKENDS[mode.backend]):
        # By its name in F, which context_parallel replaces.
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.size(1) != k.size(1))


def out_and_gradients(mode, tensors):
    *inputs, d_out = tensors
    q, k, v = (x.detach().clone().requires_grad_() for x in inputs)
    out = attend(mode, q, k, v)
    out.backward(d_out)
    return [out.detach(), q.grad, k.grad, v.grad]


def random_tensors(heads, length, device, dtype, generator=None):
    """q, k, v and d_out, contiguous in the order that torch's ring sends: it has nothing to put in order first."""
    return [torch.randn(1, n, length, heads.size, device=device, dtype=dtype, generator=generator)
            for n in (heads.query, heads.key_value, heads.key_value, heads.query)]


def whole_tensors(setting, heads, length):
    """The same on every rank: drawn on the CPU from a seed."""
    drawn = random_tensors(heads, length, "cpu", torch.float32, torch.Generator().manual_seed(77))
    return [x.to(setting.device, setting.type) for x in drawn]


def reason_of(error):
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


class Refused(Exception):
    pass


@contextlib.contextmanager
def sharded(setting, mode, buffers):
    """Inside, attention is context parallel and `buffers` are this rank's rows. An error becomes Refused."""
    set_rotate_method(mode.rotation)
    refusal = None
    with context_parallel(setting.mesh, buffers=buffers, buffer_seq_dims=[SEQUENCE] * len(buffers)):
        # Caught inside: torch 2.11 leaves attention replaced when an error passes through its context.
        try:
            yield
        except Exception as error:  # whatever torch throws: the next mode may do
            refusal = error
    if refusal is not None:
        raise Refused(reason_of(refusal)) from refusal


def largest_error(setting, mode, heads):
    """|got - expected| / |expected|, the largest of out, dq, dk and dv. Raises Refused."""
    length = (2048 if setting.device.type == "cuda" else 96) * setting.ranks
    buffers = whole_tensors(setting, heads, length)
    try:
        expected = out_and_gradients(mode, buffers)
    except RuntimeError as error:
        raise Refused(f"on one rank: {reason_of(error)}") from error
    own = F.scaled_dot_product_attention
    with sharded(setting, mode, buffers):
        replaced = F.scaled_dot_product_attention
        if replaced is own:
            raise RuntimeError("context_parallel did not replace scaled_dot_product_attention")
        if setting.options.inject:
            F.scaled_dot_product_attention = own
        try:
            mine = out_and_gradients(mode, buffers)
        finally:
            F.scaled_dot_product_attention = replaced
        got = context_parallel_unshard(setting.mesh, mine, [SEQUENCE] * len(mine))
    errors = [((g.double() - e.double()).norm() / e.double().norm()).item() for g, e in zip(got, expected)]
    # Agreed on, or ranks could go on to different modes.
    return max(setting.of_slowest_rank([math.inf if math.isnan(e) else e for e in errors]))


def usable_modes(setting, heads):
    """Modes that torch runs for these heads with one rank's results, and why the others are not among them."""
    usable, unusable = [], {}
    for backend in setting.options.backends:
        for rotation in setting.options.rotations:
            modes = [Mode(backend, rotation)]
            if heads.query != heads.key_value:  # repeating heads costs time and messages: only where torch needs it
                modes.append(Mode(backend, rotation, repeats_heads=True))
            for mode in modes:
                try:
                    error = largest_error(setting, mode, heads)
                except Refused as refusal:
                    unusable[mode] = str(refusal)
                    continue
                if error <= TOLERANCE[setting.type]:
                    usable.append(mode)
                    break
                unusable[mode] = f"differs from one rank by {error:.1e}, at most {TOLERANCE[setting.type]:.0e} allowed"
    return usable, unusable


class Clock:
    """Marks in the stream of a GPU, where the host runs ahead as in training; the steady clock on a CPU."""

    def __init__(self, setting):
        self.gpu, self.marks = setting.device.type == "cuda", []

    def mark(self):
        if self.gpu:
            self.marks.append(torch.cuda.Event(enable_timing=True))
            self.marks[-1].record()
        else:
            self.marks.append(time.perf_counter())

    def seconds(self):
        if not self.gpu:
            return [b - a for a, b in zip(self.marks[::2], self.marks[1::2])]
        torch.cuda.synchronize()
        return [a.elapsed_time(b) * 1e-3 for a, b in zip(self.marks[::2], self.marks[1::2])]


def steps_of(setting, heads, tokens):  # warm-up and timed, as in rates.cpp
    o = setting.options
    if setting.device.type != "cuda":
        return o.warmup, o.repeats
    steps = int(0.3 / (7 * heads.size * heads.query * tokens * tokens * setting.ranks / 400e12))
    return max(o.warmup, min(steps, 200)), max(o.repeats, min(steps // 2, 100))


def time_steps(setting, mode, heads, tokens):
    """Seconds of each step on the slowest rank. Raises Refused."""
    def fresh():
        *inputs, d_out = random_tensors(heads, tokens, setting.device, setting.type)
        return [x.requires_grad_() for x in inputs], d_out

    def step(inputs, d_out):
        attend(mode, *inputs).backward(d_out)

    warmup, repeats = steps_of(setting, heads, tokens)
    clock = Clock(setting)
    position = torch.zeros(1, 1, 2 * setting.ranks, device=setting.device)  # context_parallel wants something to shard
    with sharded(setting, mode, [position]):
        for _ in range(warmup):
            step(*fresh())
        dist.barrier()
        setting.synchronize()
        for _ in range(repeats):
            inputs, d_out = fresh()
            if not clock.gpu:
                dist.barrier()
            clock.mark()
            step(inputs, d_out)
            clock.mark()
        seconds = setting.of_slowest_rank(clock.seconds())
    return seconds


def by_rank(values, share):  # the nearest-rank method
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


def rate_of(heads, tokens, ranks, seconds):
    length = tokens * ranks
    cells = length * (length + 1) / 2 * heads.query / ranks
    median = by_rank(seconds, 0.5)
    return {"tflops_per_rank": 14 * heads.size * cells / median / 1e12, "median_seconds": median,
            "spread": (by_rank(seconds, 0.9) - min(seconds)) / median}


def rates_of(setting, heads, tokens, modes):
    """One record for each mode, and why the others have none."""
    seconds, refused = {mode: [] for mode in modes}, {}
    for _ in range(ROUNDS):
        for mode in modes:
            if mode in refused:
                continue
            try:
                seconds[mode] += time_steps(setting, mode, heads, tokens)
            except Refused as refusal:
                refused[mode] = str(refusal)
    shape = {"query_heads": heads.query, "key_value_heads": heads.key_value, "head_size": heads.size,
             "tokens_per_rank": tokens}
    return [{**shape, "mode": str(mode), **rate_of(heads, tokens, setting.ranks, seconds[mode])}
            for mode in modes if mode not in refused], refused


def print_rates(setting, heads, tokens, rates):
    best = max((r["tflops_per_rank"] for r in rates), default=0)
    for r in sorted(rates, key=lambda r: -r["tflops_per_rank"]):
        setting.say(f"| {heads} | {tokens} | {r['mode']} | {r['tflops_per_rank']:.3g} | "
                    f"{1e3 * r['median_seconds']:.2f} | {100 * r['spread']:.1f}% | {r['tflops_per_rank'] / best:.3f} |")


def print_unusable(setting, unusable):
    by_reason = {}
    for entry in unusable:
        by_reason.setdefault((entry["shape"], entry["reason"]), []).append(entry["mode"])
    for (shape, reason), modes in by_reason.items():
        setting.say(f"- {shape}: no {', '.join(modes)}: {reason}")


def measure(setting, all_heads, modes, unusable):
    """Records of all shapes; adds to `unusable`."""
    setting.say("- outputs and gradients of the modes below equal one rank's\n\n"
                "### Rate of torch's context parallel attention\n\n"
                "| heads | tokens per rank | mode | TFLOP/s per rank | ms | spread | ÷ best |\n"
                "|---|---|---|---|---|---|---|")
    rates, refused_at_length = [], []
    for heads in all_heads:
        for tokens in setting.options.tokens:
            found, refused = rates_of(setting, heads, tokens, modes[heads])
            print_rates(setting, heads, tokens, found)
            rates += found
            refused_at_length += [{"shape": f"{heads}, {tokens} tokens per rank", "mode": str(m), "reason": reason}
                                  for m, reason in refused.items()]
    print_unusable(setting, refused_at_length)
    unusable += refused_at_length
    return rates


def main():
    setting = make_setting(parse_arguments())
    o = setting.options
    if o.output and setting.rank == 0:
        pathlib.Path(o.output).unlink(missing_ok=True)  # an older run's must not be taken for this one's
    print_heading(setting)
    all_heads = [Heads(o.heads, o.heads, o.head_size), Heads(o.heads, o.heads // 8, o.head_size)]
    modes, unusable, rates = {}, [], []
    for heads in all_heads:
        modes[heads], reasons = usable_modes(setting, heads)
        unusable += [{"shape": str(heads), "mode": str(m), "reason": reason} for m, reason in reasons.items()]
    print_unusable(setting, unusable)
    if any(modes.values()):
        rates = measure(setting, all_heads, modes, unusable)
    else:
        setting.say(f"torch's context parallelism runs rightly in no mode on this device ({o.device}): nothing is timed")
    if o.output and setting.rank == 0:
        record = {"program": f"torch {torch.__version__} context_parallel", "device": device_name(setting.device),
                  "ranks": setting.ranks, "type": TYPE_NAMES[setting.type], "warmup": o.warmup, "repeats": o.repeats,
                  "rounds": ROUNDS, "unix_time": int(time.time()), "rates": rates, "unusable": unusable}
        pathlib.Path(o.output).write_text(json.dumps(record, indent=2) + "\n")
    dist.barrier()  # a rank that ends with a fault ends the others, and the file is to be written first
    dist.destroy_process_group()
    measured = {(r["key_value_heads"], r["tokens_per_rank"]) for r in rates}
    return 0 if len(measured) == len({h.key_value for h in all_heads}) * len(set(o.tokens)) else 1


if __name__ == "__main__":
    sys.exit(main())
