#!/usr/bin/env python3
"""Two network namespaces as two hosts: a run over both, and one whose cable is cut: both sides end within
--distributed-timeout-minutes and say in which operation. Exit code 77, with the reason, where there can be no namespaces.

  two_hosts.py BIN_FOLDER [NAME...]
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

from cases import Cases

MODEL = ("--num-layers 1 --hidden-size 32 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 --micro-batch-size 1"
         " --global-batch-size 4 --log-interval 1 --lr 1e-3 --eval-iters 0 --mock-data --tokenizer-type NullTokenizer"
         " --vocab-size 50 --context-parallel-size 4 --train-iters ").split()
cases = Cases()
case = cases.case


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Bench:
    def __init__(self, binaries, folder):
        self.binaries, self.folder = binaries, folder

    def start(self, host, *arguments):
        inside = ["ip", "netns", "exec", f"host{host}"]
        ringrun = [self.binaries / "ringrun", "--nnodes", "2", "--nproc-per-node", "2", "--node-rank", str(host), "--master-addr",
                   "10.78.0.1", "--rdzv-id", "two-hosts"]
        return subprocess.Popen([*inside, *ringrun, self.binaries / "pretrain_gpt", *MODEL, *arguments], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@case
def a_run_over_both(b):
    runs = [b.start(0, "2"), b.start(1, "2")]
    texts = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(texts)
    assert "using world size: 4" in texts[0] and "iteration        2/" in texts[1], "\n".join(texts)


@case
def a_cable_is_cut(b):
    runs = [b.start(host, "100000000", "--distributed-timeout-minutes", "0.5") for host in (0, 1)]
    for line in runs[1].stdout:
        if "lm loss" in line:
            break
    assert all(run.poll() is None for run in runs), "the run ended before"
    ip("-n", "host1", "link", "set", "wire1", "down")
    texts = [run.communicate(timeout=120)[0] for run in runs]
    for run, text in zip(runs, texts):
        assert run.returncode != 0, text
        assert re.search(r"communication failed: .*group \(ranks 0,1,2,3\): .* failed on rank \d .*timeout 30000 ms", text), text
        assert "froze" not in text, text  # all of them waited


if __name__ == "__main__":
    if os.geteuid() != 0 or shutil.which("ip") is None:
        print("skipped: network namespaces need root and ip")
        sys.exit(77)
    if subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True).returncode != 0:
        print("skipped: this machine allows no namespaces")
        sys.exit(77)
    if "RINGTRON_INSIDE" not in os.environ:
        os.execvpe("unshare", ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable,
                               *sys.argv], {**os.environ, "RINGTRON_INSIDE": "1"})
    pathlib.Path("/run/netns").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/netns"], check=True)
    for host in (0, 1):
        ip("netns", "add", f"host{host}")
        ip("-n", f"host{host}", "link", "set", "lo", "up")
    ip("-n", "host0", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", "host1")
    for host in (0, 1):
        ip("-n", f"host{host}", "address", "add", f"10.78.0.{host + 1}/24", "dev", f"wire{host}")
        ip("-n", f"host{host}", "link", "set", f"wire{host}", "up")
    cases.main(Bench)
