#!/usr/bin/env python3
"""Signals before training, ranks that freeze, and threads without OMP_NUM_THREADS, on the real programs.

  launch_trials.py BIN_FOLDER [alone_in_its_fault|start_up|frozen|spinning|launchers|threads ...] [--signals 9] [--spin LIBRARY]

alone_in_its_fault: a rank that cannot start; it says why, and the others do not wait for it. start_up: a run is told to stop at
moments spread over its start-up, by each of SIGTERM, SIGINT and SIGHUP. It must end with 128 + the signal or with 0, blame no rank,
leave no process and no file but whole ones. frozen: one rank is stopped; ringrun's last line must name it and the operation in which
the others waited. spinning: one rank computes for ever (spin_on_signal.cpp); the last line must name it as well. launchers: the real
mpirun and torchrun, where they are. threads: ranks without OMP_NUM_THREADS say how many threads they take, and variables without effect
get a line each.
"""
import argparse
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

MODEL = ["--num-layers", "1", "--hidden-size", "32", "--num-attention-heads", "4", "--seq-length", "32",
         "--max-position-embeddings", "32", "--micro-batch-size", "1", "--global-batch-size", "4", "--lr", "1e-3",
         "--log-interval", "1", "--eval-iters", "0", "--tokenizer-type", "NullTokenizer", "--vocab-size", "50"]
ENDING = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT, "SIGHUP": signal.SIGHUP}


def let_signals_through():
    for number in ENDING.values():
        signal.signal(number, signal.SIG_DFL)


def start(binaries, ranks, *arguments, **options):
    return subprocess.Popen([str(binaries / "ringrun"), "--nproc-per-node", str(ranks), str(binaries / "pretrain_gpt"), *MODEL,
                             *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            preexec_fn=let_signals_through, **options)


def ranks_of(pid):
    """Rank -> pid of ringrun's children."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) if entry.name.isdigit() else -1
            names = (entry / "environ").read_bytes().split(b"\0") if parent == pid else []
        except OSError:
            continue
        rank = [name[5:] for name in names if name.startswith(b"RANK=")]
        if rank:
            found[int(rank[0])] = int(entry.name)
    return found


def corpus(binaries, folder):
    source = folder / "text.jsonl"
    source.write_text('{"text": "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"}\n' * 200)
    subprocess.run([binaries / "preprocess_data", "--input", source, "--output-prefix", folder / "c", "--tokenizer-type",
                    "NullTokenizer", "--vocab-size", "50", "--append-eod"], check=True, capture_output=True)
    return folder / "c_text_document"


def start_up(binaries, folder, options):
    """Moments are counted in steps of the start-up as it shows in the output, and between two of them in time."""
    data = corpus(binaries, folder)
    clean = {path.name for path in folder.iterdir()}
    faults = []
    for number in range(options.signals):
        name = list(ENDING)[number % 3]
        run = start(binaries, 4, "--tensor-model-parallel-size", 2, "--train-iters", 100000, "--data-path", data, "--split", "100,0,0",
                    "--save", folder / "ck", "--save-interval", 100000, "--tensorboard-dir", folder / "tb")
        time.sleep(options.longest * number / options.signals)  # any moment is one at which this must hold
        ranks = ranks_of(run.pid)
        run.send_signal(ENDING[name])
        text = run.communicate(timeout=120)[0]
        code = run.returncode
        where = f"{name} {options.longest * number / options.signals:.2f} s after the start"
        # Before ringrun's first instructions the signal ends it as it would any program.
        if code not in (0, 128 + ENDING[name], -ENDING[name]):
            faults.append(f"{where}: exit code {code}\n{text}")
        if "failed first" in text or "froze" in text:
            faults.append(f"{where}: a rank is blamed\n{text}")
        if any(pathlib.Path(f"/proc/{pid}").exists() for pid in ranks.values()):
            faults.append(f"{where}: ranks are left")
        for path in folder.rglob("*"):
            if re.search(r"tmp|partial", path.name) and path.name not in clean:
                faults.append(f"{where}: {path} is left\n{text}")
                path.unlink() if path.is_file() else None
    return faults


def frozen(binaries, folder, options):
    faults = []
    layouts = [(2, ["--tensor-model-parallel-size", 2, "--context-parallel-size", 2]), (1, ["--tensor-model-parallel-size", 2])]
    for victim, layout in layouts:
        run = start(binaries, 4, *layout, "--mock-data", "--train-iters", 100000, "--distributed-timeout-minutes", 0.05)
        lines = []
        for line in run.stdout:
            lines.append(line)
            if re.search(r"iteration +3/.*lm loss", line):
                os.kill(ranks_of(run.pid)[victim], signal.SIGSTOP)
        code = run.wait()
        if code != 1 or not re.search(rf"ringrun: rank {victim} \(pid \d+\) froze: it is stopped.*waited for it in \w+ number", lines[-1]):
            faults.append(f"rank {victim} stopped, exit code {code}; the last line does not name it:\n{''.join(lines)}")
    return faults


def spinning(binaries, folder, options):
    if options.spin is None:
        print("spinning: skipped, no --spin LIBRARY")
        return []
    faults = []
    for victim, layout in [(2, ["--tensor-model-parallel-size", 2, "--context-parallel-size", 2]), (0, ["--context-parallel-size", 2])]:
        run = start(binaries, 4, *layout, "--mock-data", "--train-iters", 100000, "--distributed-timeout-minutes", 0.05,
                    env={**os.environ, "LD_PRELOAD": str(options.spin.resolve())})
        lines = []
        for line in run.stdout:
            lines.append(line)
            if re.search(r"iteration +3/.*lm loss", line):
                os.kill(ranks_of(run.pid)[victim], signal.SIGRTMIN)
        code = run.wait()
        named = rf"ringrun: rank {victim} \(pid \d+\) froze: it is alive and computes.*waited for it in \w+ number"
        if code != 1 or not re.search(named, lines[-1]):
            faults.append(f"rank {victim} computes for ever, exit code {code}; the last line does not name it:\n{''.join(lines)}")
    return faults


def launchers(binaries, folder, options):
    """Two ranks under each launcher that is here train together."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "SLURM_", "OMPI_", "PMI", "RINGTRON_JOB"))}
    torchrun = pathlib.Path(__file__).parents[2] / ".venv/bin/torchrun"
    starts = {"mpirun": [shutil.which("mpirun") or "", "--allow-run-as-root", "--oversubscribe", "-n", "2"],
              "torchrun": [str(torchrun) if torchrun.exists() else shutil.which("torchrun") or "", "--standalone", "--no-python",
                           "--nproc-per-node", "2"]}
    faults = []
    for name, words in starts.items():
        if not words[0]:
            print(f"launchers: skipped {name}, it is not installed")
            continue
        # The wheel brings no dependencies in a folder made for C++ only, and another mpirun than Open MPI's has other options.
        trial = subprocess.run([*words, "true"], env=environment, capture_output=True, text=True)
        if trial.returncode != 0:
            print(f"launchers: skipped {name}, it cannot start anything here: {(trial.stderr.strip() or 'no word').splitlines()[-1]}")
            continue
        run = subprocess.run([*words, str(binaries / "pretrain_gpt"), *MODEL, "--mock-data", "--context-parallel-size", "2",
                              "--train-iters", "3"], env=environment, capture_output=True, text=True, timeout=300)
        if run.returncode != 0 or not re.search(r"iteration +3/ +3 ", run.stdout):
            faults.append(f"{name}: exit code {run.returncode}\n{run.stdout}{run.stderr}")
    return faults


def threads(binaries, folder, options):
    port = 20000 + os.getpid() % 10000
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    environment.update(WORLD_SIZE="4", LOCAL_WORLD_SIZE="4", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NCCL_TIMEOUT="3600",
                       TORCH_NCCL_BLOCKING_WAIT="1", NCCL_DEBUG="WARN", MASTER="x")
    runs = [subprocess.Popen([str(binaries / "pretrain_gpt"), *MODEL, "--mock-data", "--train-iters", "2"], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**environment, "RANK": str(r), "LOCAL_RANK": str(r)})
            for r in range(4)]
    texts = [run.communicate(timeout=300)[0] for run in runs]
    faults = [f"rank {r}: exit code {run.returncode}\n{texts[r]}" for r, run in enumerate(runs) if run.returncode != 0]
    wanted = [r"NCCL_TIMEOUT has no effect: .*--distributed-timeout-minutes", r"TORCH_NCCL_BLOCKING_WAIT has no effect"]
    if len(os.sched_getaffinity(0)) > 1:
        wanted.append(r"OMP_NUM_THREADS is not set: rank 0 computes with \d+ threads?, its share of \d+ usable cores? and 4 ranks")
    for pattern in wanted:
        counts = [len(re.findall(pattern, text)) for text in texts]
        if counts != [1, 0, 0, 0]:
            faults.append(f"{pattern}: expected once, on rank 0; found {counts}\n{texts[0]}")
    if "NCCL_DEBUG has" in texts[0]:
        faults.append("NCCL_DEBUG has an effect and needs no line")
    return faults


def alone_in_its_fault(binaries, folder, options):
    """A rank that cannot start: its own line, the reason on all others, at once; the same fault of all once."""
    bad = ["--no-such-flag"]
    model = list(MODEL)
    model[model.index("--global-batch-size") + 1] = "6"  # for 2 and for 3 ranks
    training = [str(binaries / "pretrain_gpt"), *model, "--mock-data", "--train-iters", "1", "--distributed-timeout-minutes", "3"]

    def by_hand(victims, late=False):
        """late: the victims first, and the others when these say that they wait for them."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        base = {**os.environ, "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                "RINGTRON_JOB_TOKEN": str(folder)}
        runs, said = {}, {}
        for r in sorted(range(3), key=lambda r: r not in victims):
            runs[r] = subprocess.Popen([*training, *(bad if r in victims else [])], text=True, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, env={**base, "RANK": str(r), "LOCAL_RANK": str(r)})
            said[r] = [runs[r].stdout.readline(), runs[r].stdout.readline()] if late and r in victims else []
        return [("".join(said[r]) + runs[r].communicate(timeout=240)[0], runs[r].returncode) for r in range(3)]

    def one_by_hand(victim, late=False):
        for rank, (text, code) in enumerate(by_hand([victim], late)):
            if late and rank == victim and f"rank {rank} stays up to 600 s" not in text:
                yield f"rank {rank} does not say that it waits\n{text}"
            wanted = (rf"pretrain_gpt: {'' if victim == 0 else 'rank 1: '}.*--no-such-flag" if rank == victim else
                      rf"communication failed: .*rank {victim} \(.*ended before the ranks had met: .*--no-such-flag(.|\n)*this is rank {rank} ")
            if code != (2 if rank == victim else 1) or not re.search(wanted, text):
                yield f"rank {victim} has a fault; rank {rank}: exit code {code}, expected {wanted!r}\n{text}"

    def late_by_hand(victim):
        return one_by_hand(victim, late=True)

    def one_by_ringrun(victim):
        script = folder / "one_is_bad.sh"
        script.write_text(f'#!/bin/sh\n[ "$RANK" = {victim} ] && extra="--no-such-flag"\nexec "$@" $extra\n')
        script.chmod(0o755)
        run = subprocess.run([str(binaries / "ringrun"), "--nproc-per-node", "2", str(script), *training], capture_output=True, text=True,
                             timeout=240)
        text = run.stdout + run.stderr
        if run.returncode != 2 or not re.search(rf"ringrun: rank {victim} .*failed first(.|\n)*ringrun: its last line.*--no-such-flag", text):
            yield f"rank {victim} under ringrun: exit code {run.returncode}\n{text}"

    def all_by_hand(_):
        results = by_hand(range(3))
        told = ["--no-such-flag" in text for text, _ in results]
        if told != [True, False, False] or any(code != 2 for _, code in results):
            yield f"all ranks have one fault, told by {told}\n" + "\n".join(text for text, _ in results)

    faults = []
    for trial in (one_by_hand, late_by_hand, one_by_ringrun):
        faults += [fault for victim in (1, 0) for fault in trial(victim)]
    faults += all_by_hand(None)
    return faults


def main():
    trials = {"alone_in_its_fault": alone_in_its_fault, "start_up": start_up, "frozen": frozen, "spinning": spinning,
              "launchers": launchers, "threads": threads}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(trials)}; all if none is named")
    parser.add_argument("--signals", type=int, default=9, help="runs of start_up")
    parser.add_argument("--spin", type=pathlib.Path, help="the library of spin_on_signal.cpp, for spinning")
    parser.add_argument("--longest", type=float, default=3.0, help="seconds over which they are spread")
    options = parser.parse_args()
    failed = 0
    for name in options.names or trials:
        with tempfile.TemporaryDirectory(prefix="ringtron_launch_") as folder:
            faults = trials[name](options.binaries.resolve(), pathlib.Path(folder), options)
        failed += bool(faults)
        print("\n".join([f"FAILED: {name}", *faults]) if faults else f"passed: {name}", flush=True)
    sys.exit(1 if failed else 0)


main()
