#!/usr/bin/env python3
"""Who may talk to a run: ranks started by hand that do not fit together, and strangers at every port of a run.

Ranks that contradict each other are told at once, with both hosts; strangers' bytes change nothing, and a rank that is
killed meanwhile is named as promptly as without them. RINGTRON_FUZZ=N: N times as much noise.

  strangers.py BIN_FOLDER
"""
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

BINARIES = pathlib.Path(sys.argv[1]).resolve()
FUZZ = max(1, int(os.environ.get("RINGTRON_FUZZ", "1")))
TIMEOUT = 120  # seconds that a rank waits for another; whatever must be at once ends before half of it
MODEL = [
    "--distributed-timeout-minutes", str(TIMEOUT / 60),
    "--num-layers", "1", "--hidden-size", "32", "--num-attention-heads", "4", "--seq-length", "32", "--max-position-embeddings", "32",
    "--micro-batch-size", "1", "--global-batch-size", "6", "--lr", "1e-3", "--mock-data", "--tokenizer-type", "NullTokenizer",
    "--vocab-size", "100", "--log-interval", "1", "--eval-iters", "0",
]
failures = []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Rank:
    """One process of pretrain_gpt, as a script of the user's own would start it."""

    def __init__(self, rank, world, port, token=None, program=None, iterations=3):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("RINGTRON_JOB", "SLURM_", "OMPI_", "PM", "TORCHELASTIC"))}
        environment.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(world),
                           MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
        if token:
            environment["RINGTRON_JOB_TOKEN"] = token
        command = [str(program or BINARIES / "pretrain_gpt"), "--train-iters", str(iterations)] + MODEL
        self.begun = time.monotonic()
        self.lines = []
        self.seen = threading.Condition()
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.seen:
                self.lines.append(line)
                self.seen.notify_all()

    def wait_for(self, text):
        with self.seen:
            return self.seen.wait_for(lambda: text in self.output(), TIMEOUT)

    def output(self):
        return "".join(self.lines)

    def end(self):
        """Its exit code and seconds from now; killed if it takes longer than a rank may wait."""
        begun = time.monotonic()
        try:
            code = self.process.wait(1.5 * TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = None
        self.reader.join()
        return code, time.monotonic() - begun


def expect(name, condition, *ranks):
    if condition:
        return
    failures.append(name)
    print(f"FAILED: {name}")
    for rank in ranks:
        print("  ---\n  " + "  ".join(rank.lines))


def expect_no_start(name, ranks, words):
    """All of them end at once with an error that has `words`, and none has trained."""
    for rank in ranks:
        code, seconds = rank.end()
        expect(f"{name}: ends at once with an error (code {code}, {seconds:.1f} s)", code not in (0, None) and seconds < TIMEOUT / 2, *ranks)
        expect(f"{name}: no step", " iteration " not in rank.output(), *ranks)
    for word in words:
        expect(f"{name}: says {word}", all(word in rank.output() for rank in ranks), *ranks)


def rank_twice():
    port = free_port()
    ranks = [Rank(0, 2, port), Rank(1, 2, port), Rank(1, 2, port)]
    codes = [rank.end()[0] for rank in ranks]
    # Whoever came last is told; if it came before rank 0 had met the first, all are.
    expect("RANK 0, 1, 1: one of rank 1 is refused", codes[1:].count(2) == 1 or 0 not in codes, *ranks)
    refused = [rank for rank in ranks[1:] if "both say that they are rank 1" in rank.output()]
    expect("RANK 0, 1, 1: both are named", refused and refused[-1].output().count("pid") >= 2, *ranks)
    port = free_port()
    ranks = [Rank(0, 3, port), Rank(1, 3, port), Rank(1, 3, port)]
    expect_no_start("RANK 0, 1, 1 of 3", ranks, ["both say that they are rank 1", "host ", "pid "])


def other_world_or_binary():
    port = free_port()
    expect_no_start("worlds of 2 and 3", [Rank(0, 2, port), Rank(1, 3, port)], ["world size of 3", "host "])
    with tempfile.TemporaryDirectory(prefix="ringtron_binary_") as folder:
        other = pathlib.Path(folder) / "pretrain_gpt"
        shutil.copy(BINARIES / "pretrain_gpt", other)
        with open(other, "ab") as file:
            file.write(b"x")
        port = free_port()
        expect_no_start("another binary", [Rank(0, 2, port), Rank(1, 2, port, program=other)], ["another binary"])


def two_runs_at_one_port():
    port = free_port()
    first = [Rank(0, 2, port, "first")]
    while not listening_ports(first):
        time.sleep(0.02)
    second = [Rank(0, 2, port, "second"), Rank(1, 2, port, "second")]
    expect_no_start("a second run at the port", second, ["another run is using the port", f"pid {first[0].process.pid}"])
    first.append(Rank(1, 2, port, "first"))
    expect("the first run trains on", [rank.end()[0] for rank in first] == [0, 0] and first[1].wait_for("iteration        3/"), *first)


def second_rank_0_by_hand():
    """Without a token nothing but the place tells two runs apart: the one that waits there goes on waiting."""
    port = free_port()
    first = [Rank(0, 2, port)]
    while not listening_ports(first):
        time.sleep(0.02)
    expect_no_start("a second RANK 0", [Rank(0, 2, port), Rank(0, 3, port)], [f"pid {first[0].process.pid}"])
    expect("the first says so", first[0].wait_for("both say that they are rank 0"), *first)
    first.append(Rank(1, 2, port))
    expect("the first trains", [rank.end()[0] for rank in first] == [0, 0] and first[1].wait_for("iteration        3/"), *first)


def interrupted_before_the_ranks_have_met():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        port = free_port()
        rank = Rank(0, 2, port)
        while not listening_ports([rank]):
            time.sleep(0.02)
        rank.process.send_signal(number)
        code, seconds = rank.end()
        said = f"exiting program after receiving {number.name} while meeting the other ranks"
        expect(f"{number.name} while ranks are awaited ends at once and says so (code {code}, {seconds:.1f} s)",
               code == -number and said in rank.output() and seconds < 9, rank)


def death_during_the_start():
    port = free_port()
    ranks = [Rank(0, 3, port), Rank(1, 3, port)]
    while not connections_to(port, ranks[1]):
        time.sleep(0.02)
    time.sleep(0.2)
    ranks[1].process.kill()
    ranks[1].end()
    expect_no_start("a rank killed while others are awaited", ranks[:1], ["rank 1 died (host "])


def sockets(state):
    """inode -> (local port, remote port) of the TCP sockets of this machine in `state`."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not os.path.exists(table):
            continue
        for line in open(table).readlines()[1:]:
            words = line.split()
            if words[3] == state:
                found[words[9]] = tuple(int(words[i].rsplit(":", 1)[1], 16) for i in (1, 2))
    return found


def own_sockets(rank, state):
    known = sockets(state)
    result = []
    folder = f"/proc/{rank.process.pid}/fd"
    for name in os.listdir(folder) if rank.process.poll() is None else []:
        try:
            link = os.readlink(f"{folder}/{name}")
        except OSError:
            continue
        if link.startswith("socket:[") and link[8:-1] in known:
            result.append(known[link[8:-1]])
    return result


def listening_ports(ranks):
    return sorted({ports[0] for rank in ranks for ports in own_sockets(rank, "0A")})


def connections_to(port, rank):
    return [ports for ports in own_sockets(rank, "01") if ports[1] == port]


def descriptors(rank):
    return len(os.listdir(f"/proc/{rank.process.pid}/fd"))


def make_noise(ports, held, choose):
    """Silence, one byte, noise, long streams and connections that end at once, at every port."""
    for port in ports:
        for kind in range(4 * FUZZ):
            try:
                stranger = socket.create_connection(("127.0.0.1", port), timeout=0.2)
            except OSError:  # lets nobody in
                break
            try:
                if kind % 4 == 1:
                    stranger.sendall(b"x")
                elif kind % 4 == 2:
                    stranger.sendall(choose.randbytes(choose.randrange(1, 3000)))
                elif kind % 4 == 3:
                    for _ in range(10 * FUZZ):
                        stranger.sendall(choose.randbytes(10000))
                held.append(stranger)
            except OSError:  # dropped, as it should be
                pass


def strangers_at_all_ports():
    choose, held, port = random.Random(1), [], free_port()
    ranks = [Rank(0, 3, port, "t", iterations=1000000)]
    while not listening_ports(ranks):
        time.sleep(0.02)
    make_noise([port], held, choose)  # while the others are awaited
    ranks += [Rank(rank, 3, port, "t", iterations=1000000) for rank in (1, 2)]
    expect("training starts among strangers", ranks[2].wait_for(" iteration "), *ranks)
    before = [descriptors(rank) for rank in ranks]
    for _ in range(2):
        make_noise(listening_ports(ranks), held, choose)
    steps = ranks[2].output().count(" iteration ")
    expect("training goes on among strangers", ranks[2].wait_for(f" iteration {steps + 3:8d}/"), *ranks)
    deadline = time.monotonic() + TIMEOUT / 2
    while any(descriptors(r) > b for r, b in zip(ranks, before)) and time.monotonic() < deadline:
        time.sleep(0.1)
    after = [descriptors(rank) for rank in ranks]
    expect(f"strangers hold no descriptors ({before} before, {after} after)", all(a <= b for a, b in zip(after, before)))
    make_noise(listening_ports(ranks), held, choose)
    ranks[1].process.send_signal(signal.SIGKILL)
    for rank in (ranks[0], ranks[2]):
        code, seconds = rank.end()
        expect(f"a killed rank is named among strangers (code {code}, {seconds:.1f} s)",
               code == 1 and seconds < TIMEOUT / 2 and "rank 1 died (host " in rank.output(), *ranks)
    ranks[1].end()


def main():
    for check in (rank_twice, other_world_or_binary, two_runs_at_one_port, second_rank_0_by_hand, interrupted_before_the_ranks_have_met,
                  death_during_the_start, strangers_at_all_ports):
        begun = time.monotonic()
        check()
        print(f"{check.__name__}: {time.monotonic() - begun:.1f} s", flush=True)
    print(f"{len(failures)} failed")
    sys.exit(1 if failures else 0)


main()
