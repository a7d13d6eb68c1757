#!/usr/bin/env python3
"""Runs on a machine with GPUs what the CPU tests cannot show, in one call, and prints a table of it.

Parts: tests (the GPU test programs), fp32 (a small model in fp32: one GPU against tensor, context and data parallelism, losses
within 0.01%: what bf16 would hide), model (125M parameters in bf16, losses within 1%), documents (the same with document
masks), dropout (the same with both dropouts, whose masks no layout changes), kill (one rank killed: all others must end within 5 s),
demo (cp_demo_minimal over context parallelism), benchmark (benchmarks/context_parallel with its torch peer).

    scripts/gpu_evidence.py --build build/cuda --data PREFIX --vocab vocab.json --merges merges.txt --out DIR
    scripts/gpu_evidence.py --build build/cpu --rehearse --out DIR      # the same commands, small, on CPU processes

Logs of all runs lie in DIR. Exit code 1 if something failed.
"""
import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

PARTS = ["tests", "demo", "fp32", "model", "documents", "dropout", "kill", "benchmark"]
ITERATION = re.compile(r"iteration\s+(\d+)/.*?elapsed time per iteration \(ms\): ([\d.]+).*?lm loss: ([\d.E+-]+)")
PEAK = re.compile(r"max allocated: ([\d.]+)")


class Evidence:
    def __init__(self, options):
        self.o = options
        self.bin = options.build / "bin"
        self.rows, self.failures = [], []

    def note(self, part, what, ok, detail):
        self.rows.append((part, what, "ok" if ok else "FAILED", detail))
        if not ok:
            self.failures.append(f"{part}: {what}")
        print(f"gpu_evidence: {part}: {what}: {'ok' if ok else 'FAILED'}: {detail}", flush=True)

    def log_of(self, name):
        return self.o.out / f"{name}.log"

    def run(self, name, command):
        """Exit code and output; the log keeps the command."""
        print(f"gpu_evidence: {name} ...", flush=True)
        with open(self.log_of(name), "w") as log:
            log.write(" ".join(map(str, command)) + "\n")
            log.flush()
            code = subprocess.run([str(c) for c in command], stdout=log, stderr=subprocess.STDOUT,
                                  timeout=self.o.limit, check=False).returncode
        return code, self.log_of(name).read_text(errors="replace")

    def ranks(self, count, *command):
        return [self.bin / "ringrun", "--no-prefix", "--nproc-per-node", count, *command]

    # The training run of the parts below. small: of a model that CPU processes can train too.
    def training(self, ranks, flags, small=False):
        small = small or self.o.rehearse
        sizes = ("2 64 4 128 1 4 6" if small else "12 768 12 1024 4 16 100").split()
        command = [self.bin / "pretrain_gpt"]
        for flag, value in zip(["--num-layers", "--hidden-size", "--num-attention-heads", "--seq-length",
                                "--micro-batch-size", "--global-batch-size", "--train-iters"], sizes):
            command += [flag, value]
        # A warm-up of 2 iterations made curves chaotic: rounding alone moved losses by more than 1%.
        command += ["--max-position-embeddings", sizes[3], "--lr", "3e-4", "--min-lr", "3e-5", "--lr-decay-style", "cosine",
                    "--lr-warmup-iters", "2" if small else "20", "--weight-decay", "0.1", "--adam-beta2", "0.95", "--hidden-dropout", "0",
                    "--attention-dropout", "0", "--eval-iters", "0", "--split", "100,0,0", "--log-throughput",
                    "--log-interval", "1" if small else "10"]
        if self.o.data:
            command += ["--data-path", self.o.data, "--vocab-file", self.o.vocab, "--merge-file", self.o.merges]
        else:
            command += ["--mock-data", "--tokenizer-type", "NullTokenizer", "--vocab-size", "127"]
        return self.ranks(ranks, *command, *flags)

    def tests(self):
        programs = sorted(p for p in (self.o.build / "tests").rglob("*_gpu*_test") if os.access(p, os.X_OK) and p.is_file())
        for program in programs:
            code, text = self.run(program.name, [program])
            passed = re.findall(r"\[  PASSED  \] (\d+) test", text)
            self.note("tests", program.name, code == 0, f"{passed[-1] if passed else 0} passed")
        if not programs and not self.o.rehearse:
            self.note("tests", "programs", False, f"none under {self.o.build}/tests")

    def curve(self, part, name, ranks, flags, small):
        """{iteration: loss} of one run, and what it cost."""
        code, text = self.run(f"{part}-{name}", self.training(ranks, flags, small))
        points = [(int(i), float(ms), float(loss)) for i, ms, loss in ITERATION.findall(text)]
        if code != 0 or not points:
            self.note(part, name, False, f"exit code {code}, see {self.log_of(f'{part}-{name}')}")
            return None
        later = [ms for _, ms, _ in points[1:]] or [points[0][1]]
        peaks = [float(p) for p in PEAK.findall(text)]
        cost = f"{sorted(later)[len(later) // 2]:.1f} ms per iteration" + (f", peak {max(peaks):.0f} MB" if peaks else "")
        return {i: loss for i, _, loss in points}, cost

    def compare(self, part, layouts, flags, bound=0.01, small=False):
        one = self.curve(part, "one", 1, flags, small)
        if one is None:
            return
        losses = list(one[0].values())
        # How far rounding alone takes a curve: the same run again, whose attention adds up dq in another order.
        layouts = [("one-again", 1, []), *layouts]
        self.note(part, "one", losses[-1] < losses[0], f"loss {losses[0]:.4f} -> {losses[-1]:.4f}, {one[1]}")
        for name, ranks, more in layouts:
            if ranks > self.o.gpus:
                continue
            run = self.curve(part, name, ranks, flags + more, small)
            if run is None:
                continue
            worst = max(abs(run[0][i] - one[0][i]) / one[0][i] for i in one[0] if i in run[0])
            self.note(part, name, worst < bound and run[0].keys() == one[0].keys(),
                      f"largest difference of a loss {100 * worst:.2g} %, {run[1]}")

    LAYOUTS = [
        ("tp2-sp", 2, ["--tensor-model-parallel-size", "2", "--sequence-parallel"]),
        *[(f"cp2-{t}", 2, ["--context-parallel-size", "2", "--cp-comm-type", t]) for t in ("p2p", "all_gather", "a2a")],
        ("dp2", 2, []),
        ("dp2-distributed-optimizer", 2, ["--use-distributed-optimizer"]),
        ("cp4-a2a+p2p", 4, ["--context-parallel-size", "4", "--cp-comm-type", "a2a+p2p",
                            "--hierarchical-context-parallel-sizes", "2", "2"]),
        ("tp4-cp2-sp", 8, ["--tensor-model-parallel-size", "4", "--context-parallel-size", "2", "--sequence-parallel"]),
    ]

    def fp32(self):
        # Six steps: rounding in fp32 moves a loss by 1e-7, and a race or a lost message by far more than the bound.
        by_nccl = ("cp2-p2p-nccl", 2, ["--context-parallel-size", "2", "--no-peer-copies"])
        self.compare("fp32", [*self.LAYOUTS, by_nccl], [], bound=1e-4, small=True)

    def model(self):
        self.compare("model", self.LAYOUTS, ["--bf16"])

    def documents(self):
        cp2 = ["--context-parallel-size", "2"]
        self.compare("documents", [(f"cp2-{t}-{layout}", 2, [*cp2, "--cp-comm-type", t, "--cp-layout", layout])
                                   for t, layout in (("p2p", "balanced"), ("all_gather", "zigzag"), ("a2a", "zigzag"))],
                     ["--bf16", "--reset-attention-mask", "--reset-position-ids", "--eod-mask-loss"])

    def dropout(self):
        self.compare("dropout", self.LAYOUTS, ["--bf16", "--attention-dropout", "0.1", "--hidden-dropout", "0.1"])

    def kill(self):
        """kill -9 of the second rank in the middle of a run over context parallelism."""
        command = self.training(2, ["--bf16", "--context-parallel-size", "2", "--train-iters", "100000", "--log-interval", "1"])
        log_path = self.log_of("kill")
        with open(log_path, "w") as log:
            launcher = subprocess.Popen([str(c) for c in command], stdout=log, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + 180
            while not re.search(r"iteration\s+5/", log_path.read_text(errors="replace")):
                if launcher.poll() is not None or time.monotonic() > end:
                    return self.note("kill", "start", False, f"no fifth iteration, see {log_path}")
                time.sleep(0.2)
            ranks = rank_processes(launcher.pid)
            os.kill(ranks[1], signal.SIGKILL)
            began = time.monotonic()
            code = launcher.wait(timeout=60)
            took = time.monotonic() - began
            alive = [rank for rank in ranks.values() if pathlib.Path(f"/proc/{rank}").exists()]
            named = "rank 1" in log_path.read_text(errors="replace")
            self.note("kill", "rank 1 of 2", took < 5 and not alive and named and code == 137,
                      f"all gone after {took:.1f} s, exit code {code}, rank {'named' if named else 'not named'}")
        finally:
            if launcher.poll() is None:
                launcher.kill()

    def demo(self):
        for transport in ("p2p", "all_gather", "a2a"):
            code, text = self.run(f"demo-{transport}", self.ranks(
                2, self.bin / "cp_demo_minimal", "--tensor-model-parallel-size", 1, "--context-parallel-size", 2,
                "--cp-comm-type", transport))
            largest = re.search(r"output.*largest absolute difference (\S+)", text)
            self.note("demo", transport, code == 0, f"largest difference {largest.group(1) if largest else 'not printed'}")

    def benchmark(self):
        program = self.o.build / "benchmarks" / "context_parallel"
        if not program.exists():
            return self.note("benchmark", "program", self.o.rehearse, f"{program} is not built (context_parallel_benchmark)")
        more = []
        if not self.o.rehearse:
            peer = self.o.out / "torch.json"
            script = pathlib.Path(__file__).resolve().parent.parent / "benchmarks" / "torch_context_parallel.py"
            code, _ = self.run("benchmark-torch", self.ranks(self.o.gpus, sys.executable, script, "--output", peer))
            self.note("benchmark", "torch", code == 0, str(peer))
            more = ["--peer", peer] if code == 0 else []
        code, text = self.run("benchmark", self.ranks(self.o.gpus, program, *more))
        self.note("benchmark", "context_parallel", code == 0, f"{text.count('|')} cells of tables in benchmark.log")


def rank_processes(launcher):
    """{rank: process} of a launcher's ranks, by the RANK in their environment."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (path / "exe").resolve().name != "pretrain_gpt":
                continue
            environment = dict(item.split("=", 1) for item in (path / "environ").read_text().split("\0") if "=" in item)
            parents, pid = set(), int(path.name)
            while pid > 1:
                parents.add(pid)
                pid = int((pathlib.Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if launcher in parents and "RANK" in environment:
                found[int(environment["RANK"])] = int(path.name)
        except (OSError, ValueError):
            continue
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="build folder, with bin/ and tests/")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="where logs go")
    parser.add_argument("--data", help="prefix of tokens; without it, made-up data")
    parser.add_argument("--vocab", help="GPT-2 vocab.json of the data")
    parser.add_argument("--merges", help="GPT-2 merges.txt of the data")
    parser.add_argument("--gpus", type=int, default=2, help="GPUs to use (default 2); layouts that need more are left out")
    parser.add_argument("--limit", type=int, default=540, help="seconds that one command may take (default 540)")
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated, default all: " + ",".join(PARTS))
    parser.add_argument("--rehearse", action="store_true", help="small sizes, for CPU processes")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"unknown part {unknown[0]}; parts are {', '.join(PARTS)}")
    if options.data and not (options.vocab and options.merges):
        parser.error("--data needs --vocab and --merges")
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ["NCCL_NVLS_ENABLE"] = "0"
    evidence = Evidence(options)
    for part in parts:
        try:
            getattr(evidence, part)()
        except (OSError, subprocess.TimeoutExpired) as error:
            evidence.note(part, "run", False, str(error))
    table = "| part | what | verdict | detail |\n|---|---|---|---|\n"
    table += "".join(f"| {' | '.join(row)} |\n" for row in evidence.rows)
    (options.out / "evidence.md").write_text(table)
    print(table + (f"gpu_evidence: {len(evidence.failures)} failed: {', '.join(evidence.failures)}"
                   if evidence.failures else f"gpu_evidence: all {len(evidence.rows)} ok"))
    return 1 if evidence.failures else 0


if __name__ == "__main__":
    sys.exit(main())
