#!/usr/bin/env python3
"""Measures whole training steps of pretrain_gpt and of torch.compile in one call: ours, torch's, ours again.

    benchmarks/train_step.py                                          # the cases 8k, 8k_x4, 190m_b4, 190m_b16, 190m_b32
    benchmarks/train_step.py --case 8k,sequence=16384 --case 190m_b4  # other shapes
    benchmarks/train_step.py --case tiny --device cpu --program build/cpu/bin/pretrain_gpt   # a rehearsal

Before a case is timed, both train from the same weights on the same samples, and their losses must agree; where they do not, or
where a run with a fault in it agrees as well, the case gets no row. How to read the table: docs/benchmarks.md. Exit code 1 if
some case was not measured.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from whole_step.agreement import BOUNDS, compare
from whole_step.log import read_log, timed_intervals
from whole_step.shape import CASES, Optimizer, parse_case
from whole_step.table import Measured, head
from whole_step.tokens import write_corpus

HERE = pathlib.Path(__file__).resolve().parent
STANDARD = ["8k", "8k_x4", "190m_b4", "190m_b16", "190m_b32"]
STEPS_AT_REST = 8
AT_REST = Optimizer(learning_rate=1e-30)  # less than the last bit of any weight above 1e-22


class Failed(Exception):
    """A program of either side ended badly, or both do not agree; the sentence says which and where the log is."""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help=f"one of {', '.join(CASES)}, with ,NAME=NUMBER to change its shape; may be "
                        f"given more than once (default {', '.join(STANDARD)})")
    parser.add_argument("--program", default="build/cuda/bin/pretrain_gpt")
    parser.add_argument("--inspect", type=pathlib.Path, help="tells the order of samples (default: beside the program)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: both sides in fp32, to try this program")
    parser.add_argument("--no-compile", action="store_true", help="the peer without torch.compile; always so on a CPU")
    parser.add_argument("--residual", choices=("fp32", "bf16"), default="fp32",
                        help="type of the sums that go through the peer's layers: fp32 is what autocast makes of them")
    parser.add_argument("--warmup", type=int, default=5, help="steps before those that are timed")
    parser.add_argument("--intervals", type=int, help="times taken in each of the three runs (default: of the case, 15 to 100, "
                        "more for short steps)")
    parser.add_argument("--log-interval", type=int, default=1, help="steps of one time: after them the host waits for the loss")
    parser.add_argument("--check-steps", type=int, default=20)
    parser.add_argument("--gemm-seconds", type=float, default=1.0)
    parser.add_argument("--only-check", action="store_true", help="compares losses and times nothing")
    parser.add_argument("--work", type=pathlib.Path, help="folder for data, one checkpoint at a time and logs, kept (default: a "
                        "temporary one)")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file of all that was measured")
    o = parser.parse_args()
    o.program = pathlib.Path(o.program).resolve()
    o.inspect = (o.inspect or o.program.parent / "inspect").resolve()
    for path in (o.program, o.inspect):
        if not path.is_file():
            parser.error(f"no program {path}")
    if min(o.warmup, o.intervals or 1, o.log_interval, o.check_steps // 2) < 1:
        parser.error("expected --warmup, --intervals and --log-interval of 1 or more, --check-steps of 2 or more")
    try:
        o.case = [(name, parse_case(name)) for name in o.case or STANDARD]
    except ValueError as error:
        parser.error(f"--case: {error}")
    return o


def compiled(options):
    return options.device == "cuda" and not options.no_compile


def say(line):
    print(f"train_step: {line}", flush=True)


class Case:
    """One case: its files, and what runs it."""

    def __init__(self, options, name, shape, folder):
        self.o, self.name, self.shape, self.folder = options, name, shape, folder
        self.optimizer = Optimizer()
        self.intervals = options.intervals or (shape.intervals() if options.device == "cuda" else 15)
        folder.mkdir(parents=True, exist_ok=True)

    def corpus(self, name, steps, even):
        prefix = self.folder / name
        # Two samples more than are read: samples share a token with the next one, so the last document ends in none.
        write_corpus(prefix, steps * self.shape.samples + 2, self.shape.sequence + 1, self.shape.vocab, even)
        return prefix

    def run(self, log_name, command):
        """Output of a program of ours."""
        log = self.folder / f"{log_name}.log"
        began = time.monotonic()
        with open(log, "w") as file:
            code = subprocess.run([str(word) for word in command], stdout=file, stderr=subprocess.STDOUT, check=False).returncode
        text = log.read_text(errors="replace")
        if code != 0:
            raise Failed(f"{command[0]} ended with {code}, log {log}:\n{text[-2000:]}")
        say(f"{self.name}: {log_name}: {time.monotonic() - began:.0f} s")
        return text

    def train(self, log_name, prefix, steps, optimizer, *more):
        precision = ["--bf16"] if self.o.device == "cuda" else []
        return read_log(self.run(log_name, [self.o.program, *self.shape.flags(), *optimizer.flags(), *precision, "--train-iters",
                                            steps, "--data-path", prefix, *more]))

    def rest(self, prefix):
        """Losses of steps that change no weight, and the folder of the weights."""
        folder = self.folder / "checkpoint"
        log = self.train("rest", prefix, STEPS_AT_REST, AT_REST, "--log-interval", 1, "--save", folder, "--save-interval",
                         STEPS_AT_REST, "--no-save-optim")
        return log.in_order(), folder / f"iter_{STEPS_AT_REST:07}"

    def samples(self, prefix, steps):
        """File with the samples of `steps` steps, in the order in which training reads them."""
        text = self.run("samples", [self.o.inspect, "data", prefix, "--samples", steps * self.shape.samples, "--format", "json",
                                    *self.shape.data_flags(), "--train-iters", steps])
        file = self.folder / f"samples_{steps}.json"
        file.write_text("".join(line + "\n" for line in text.splitlines() if line.startswith("{")))
        return file


class PeerProcess:
    """torch_train_step.py with a shape; answers requests one by one."""

    def __init__(self, case):
        o = case.o
        self.case, self.log = case, case.folder / "peer.log"
        setup = {"shape": dataclasses.asdict(case.shape), "optimizer": dataclasses.asdict(case.optimizer), "device": o.device,
                 "compile": compiled(o), "residual": o.residual, "warmup": o.warmup,
                 "intervals": case.intervals, "interval": o.log_interval, "gemm_seconds": o.gemm_seconds}
        self.process = subprocess.Popen([sys.executable, str(HERE / "torch_train_step.py"), json.dumps(setup)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(self.log, "w"))

    def ask(self, request):
        began = time.monotonic()
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise Failed(f"the peer ended with {self.process.wait()}, log {self.log}:\n{self.log.read_text()[-2000:]}")
        say(f"{self.case.name}: peer: {request['do']}: {time.monotonic() - began:.0f} s")
        return json.loads(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        if self.process.poll() is None:
            self.process.kill()  # what it has to say has been read
        self.process.wait()


def check(case, ours, peer):
    """Prints how well losses agree. Raises Failed."""
    found, against = compare(ours, peer, case.shape.tokens, BOUNDS[case.o.device])
    say(f"{case.name}: losses from {ours['training'][0]:.4f} to {ours['training'][-1]:.4f}; " + "; ".join(found))
    if against:
        raise Failed(f"not the same model: {'; '.join(against)}\nours: {ours}\npeer: {peer}")


def measure(case):
    """None with --only-check."""
    o, interval = case.o, case.o.log_interval
    text = case.corpus("text", max(o.check_steps, STEPS_AT_REST), even=False)
    rest, weights = case.rest(text)
    training = case.train("training", text, o.check_steps, case.optimizer, "--log-interval", 1).in_order()
    files = {"at rest": str(case.samples(text, STEPS_AT_REST)), "training": str(case.samples(text, o.check_steps))}
    steps = (-(-o.warmup // interval) + case.intervals) * interval
    noise = case.corpus("noise", steps, even=True)

    def timed(name):
        log = case.train(name, noise, steps, case.optimizer, "--log-interval", interval)
        return timed_intervals(log, o.warmup, interval), log.peak_bytes

    # Before the peer starts, which keeps its memory; thrown away if the check fails.
    first, peak = (None, None) if o.only_check else timed("first")
    with PeerProcess(case) as peer:
        check(case, {"at rest": rest, "training": training}, peer.ask({"do": "check", "weights": str(weights), **files}))
        if o.only_check:
            return None
        answer = peer.ask({"do": "time", "weights": str(weights)})
    second, _ = timed("second")
    say(f"{case.name}: peer on {answer['machine']}")
    return Measured(case.name, case.shape.step_flops(), first, answer["milliseconds"], second, peak, answer["peak_bytes"],
                    answer["gemm_before"], answer["gemm_after"])


def main():
    o = arguments()
    os.environ.setdefault("NCCL_NVLS_ENABLE", "0")
    rows, records, failed = [], [], 0
    titles = head("torch.compile" if compiled(o) else "eager torch")
    with tempfile.TemporaryDirectory(prefix="ringtron_train_step_") as temporary:
        for number, (name, shape) in enumerate(o.case):
            folder = (o.work or pathlib.Path(temporary)) / f"{number}_{name.split(',')[0]}"
            say(f"{name}: {shape.parameters / 1e9:.3f}e9 parameters, {shape.samples * shape.sequence} tokens a step")
            try:
                measured = measure(Case(o, name, shape, folder))
            except Failed as reason:
                failed += 1
                say(f"{name}: NOT MEASURED: {reason}")
                continue
            finally:
                shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # 14 GB of the largest case
            if measured:
                rows.append(measured.row())
                records.append({**dataclasses.asdict(measured), "shape": dataclasses.asdict(shape), "ratio": measured.ratio()})
                print("\n".join([titles, rows[-1]]), flush=True)
    if len(rows) > 1:
        print("\n".join(["", titles, *rows]))
    if o.output:
        o.output.write_text(json.dumps(records, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
