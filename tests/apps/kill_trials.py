#!/usr/bin/env python3
"""Kills one rank of a running job with SIGKILL at a random moment, again and again.

Each trial: start pretrain_gpt on 4 processes in one of some layouts, wait for a random log line, kill a random rank. Demands that ringrun ends
with exit code 137 and names that rank, that no process of the job is left, and that the next run resumes from a
complete checkpoint and reaches its end. Prints one line a trial with the seconds from the kill to the end of the last
process; with --limit S, more than S seconds is a failure (by hand, on a quiet machine; CI has no such limit).

  kill_trials.py BIN_FOLDER [--trials 10] [--seed 1] [--limit 5]
"""
import argparse
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

RANKS = 4
ITERATIONS = 40


LAYOUTS = [
    ["--tensor-model-parallel-size", "2", "--context-parallel-size", "2", "--sequence-parallel"],
    ["--tensor-model-parallel-size", "2", "--pipeline-model-parallel-size", "2", "--async-save"],
    ["--pipeline-model-parallel-size", "2", "--use-distributed-optimizer",
     "--async-save"],
]


def command(binaries, folder, layout):
    """Each trial and each resume has another layout: any loads what any has saved."""
    return [
        str(binaries / "ringrun"), "--nproc-per-node", str(RANKS), str(binaries / "pretrain_gpt"), *LAYOUTS[layout % len(LAYOUTS)],
        "--num-layers", "2", "--hidden-size", "32", "--num-attention-heads", "4",
        "--seq-length", "64", "--max-position-embeddings", "64",
        "--micro-batch-size", "2", "--global-batch-size", "4", "--train-iters", str(ITERATIONS), "--lr", "1e-3",
        "--mock-data", "--tokenizer-type", "NullTokenizer", "--vocab-size", "100", "--log-interval", "1",
        "--eval-iters", "0", "--save", str(folder), "--load", str(folder), "--save-interval", "3",
    ]


def children(pid):
    """The ranks: ringrun's children that run pretrain_gpt, by rank."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
            environment = (entry / "environ").read_bytes().split(b"\0")
            program = (entry / "comm").read_text().strip()
        except (OSError, PermissionError):
            continue
        if int(stat.rsplit(")", 1)[1].split()[1]) == pid and program == "pretrain_gpt":
            rank = [v for v in environment if v.startswith(b"RANK=")]
            found[int(rank[0][5:])] = int(entry.name)
    return found


def alive(pids):
    return [p for p in pids if pathlib.Path(f"/proc/{p}").exists()]


def run_until_killed(binaries, folder, choose, layout):
    """One run with one kill. Returns (rank, iteration, seconds, exit code, output)."""
    run = subprocess.Popen(command(binaries, folder, layout), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output, victim, ranks, killed_at = [], None, {}, 0.0
    after = choose.randrange(1, 12)  # log lines of this run before the kill
    seen = 0
    for line in run.stdout:
        output.append(line)
        seen += "iteration " in line and "lm loss" in line
        if victim is None and seen == after:
            ranks = children(run.pid)
            time.sleep(choose.random() * 0.05)  # anywhere inside a step or a save
            victim = choose.randrange(RANKS)
            killed_at = time.monotonic()
            os.kill(ranks[victim], signal.SIGKILL)
    code = run.wait()
    while alive(ranks.values()):
        time.sleep(0.01)
    return victim, after, time.monotonic() - killed_at, code, "".join(output)


def trial(binaries, folder, choose, limit):
    layout, other = choose.randrange(len(LAYOUTS)), choose.randrange(len(LAYOUTS))
    victim, after, seconds, code, output = run_until_killed(binaries, folder, choose, layout)
    faults = []
    if victim is None:
        return "no rank was killed: the run ended first\n" + output
    if code != 137:
        faults.append(f"expected exit code 137, got {code}")
    if not re.search(rf"ringrun: rank {victim} .*(SIGKILL|signal 9)", output):
        faults.append(f"ringrun does not name rank {victim}")
    if limit and seconds > limit:
        faults.append(f"the last process ended {seconds:.2f} s after the kill")
    resumed = subprocess.run(command(binaries, folder, other) + ["--exit-interval", "1"], capture_output=True, text=True)
    loaded = re.search(r"successfully loaded checkpoint .* at iteration (\d+)", resumed.stdout)
    # A save beside training is there at the latest when the next one begins.
    is_saved_after = 6 if "--async-save" in LAYOUTS[layout] else 3
    if resumed.returncode != 0 or (after > is_saved_after and not loaded):
        faults.append("the next run did not resume:\n" + resumed.stdout[-2000:] + resumed.stderr[-2000:])
    print(f"layout {layout}, then {other}: rank {victim} killed after {after} iterations: all gone in {seconds:.2f} s, exit code {code}, "
          f"resumed from iteration {loaded.group(1) if loaded else 'none'}", flush=True)
    return "\n".join(faults + [output]) if faults else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", type=pathlib.Path)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=0)
    options = parser.parse_args()
    choose = random.Random(options.seed)
    failed = 0
    for number in range(options.trials):
        with tempfile.TemporaryDirectory(prefix="ringtron_kill_") as folder:
            fault = trial(options.binaries.resolve(), pathlib.Path(folder), choose, options.limit)
        if fault:
            failed += 1
            print(f"trial {number} FAILED: {fault}", flush=True)
    print(f"{options.trials - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
