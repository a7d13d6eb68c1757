#!/usr/bin/env python3
"""The scripts of examples/slurm on a real Slurm of four nodes on this machine. Exit code 77, with the
reason, where there can be none.

  slurm.py BIN_FOLDER [NAME...]
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import slurm_cluster
from cases import Cases

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples/slurm"
SIZE = "--num-layers 1 --hidden-size 32 --num-attention-heads 4"
MODEL = SIZE + (" --seq-length 32 --max-position-embeddings 32 --micro-batch-size 1 --global-batch-size 8 --log-interval 1"
                " --lr 1e-3 --eval-iters 0 --save-interval 1000000000 --train-iters ")
ENDLESS = "100000000"
MOCK = "--mock-data --tokenizer-type NullTokenizer --vocab-size 50 --distributed-timeout-minutes 3"
SMALL = ["--gres=none", "--nodes=4", "--ntasks-per-node=1"]
cases = Cases()
case = cases.case
cluster = None


class Bench:
    def __init__(self, binaries, folder):
        self.binaries, self.folder, self.log = binaries, folder, folder / "log"

    def environment(self, iterations):
        return {"BIN": str(self.binaries), "CHECKPOINTS": str(self.folder / "checkpoints"), "DATA": MOCK,
                "LAYOUT": "--context-parallel-size 2", "MODEL": MODEL + str(iterations), "OMP_NUM_THREADS": "1"}

    def submit(self, script, *options, **environment):
        return cluster.submit(script, *SMALL, f"--output={self.log}", *options, environment=environment.items())

    def finish(self, job, state="COMPLETED"):
        got = cluster.wait(job)
        assert got == state, f"job {job}: expected {state}, got {got}\n{self.text()}"
        return self.text()

    def text(self):
        return self.log.read_text() if self.log.exists() else ""

    def until(self, *words):
        """Waits until the log holds these words, one behind the other."""
        def done():
            at, text = 0, self.text()
            for word in words:
                at = text.find(word, at)
                if at < 0:
                    return False
            return True
        cluster.until(f"{words} in the log", done, 120, self.text)

    def batch(self, *lines):
        script = self.folder / "script"
        script.write_text("\n".join(["#!/bin/bash", *lines]) + "\n")
        return script


def losses(text):
    return [float(word) for word in re.findall(r"lm loss: (\S+)", text)]


def demand(text, *patterns):
    for pattern in patterns:
        assert re.search(pattern, text), f"no {pattern!r} in\n{text}"


def one_machine(b, *more):
    """The losses of 3 iterations without Slurm."""
    run = subprocess.run([b.binaries / "ringrun", "--standalone", "--nproc-per-node", "2", b.binaries / "pretrain_gpt",
                          *(MODEL + "3 " + MOCK).split(), *more], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    return losses(run.stdout)


def agree(a, b):
    return len(a) == len(b) == 3 and all(abs(x - y) < 1e-5 for x, y in zip(a, b))


@case
def srun_starts_the_ranks(b):
    text = b.finish(b.submit(EXAMPLES / "pretrain_gpt.sbatch", **b.environment(3)))
    demand(text, "using world size: 4, data-parallel size: 2, context-parallel size: 2")
    assert agree(losses(text), one_machine(b)), text
    assert not agree(losses(text), one_machine(b, "--seed", "4")), "another seed gives the same losses"


@case
def script_of_the_tutorial(b):
    size = SIZE + " --ffn-hidden-size 64 --train-iters 2 --log-interval 1 --eval-iters 0"
    job = b.submit(EXAMPLES / "pretrain_gpt_ringrun.sbatch", BIN=str(b.binaries), GPUS_PER_NODE="2", TP="2", CP="2",
                   SEQ_LEN="32", DATA=MOCK, SIZE=size)
    demand(b.finish(job), "using world size: 8, data-parallel size: 2, context-parallel size: 2", r"Slurm: this is node 3 of 4",
           r"iteration +2/ +2")


@case
def ringrun_once_on_each_node(b):
    script = b.batch(f"srun {b.binaries}/ringrun --nproc-per-node 2 {b.binaries}/pretrain_gpt {MODEL}3 {MOCK}")
    text = b.finish(b.submit(script, "--nodes=2"))
    demand(text, "using world size: 4", r"Slurm: this is node 1 of 2; rank 0 listens at gpu0\d, port 2\d{4}")
    assert agree(losses(text), one_machine(b)), text


@case
def several_ringrun_on_one_node(b):
    script = b.batch(f"srun {b.binaries}/ringrun --nproc-per-node 2 {b.binaries}/pretrain_gpt {MODEL}3 {MOCK}")
    demand(b.finish(b.submit(script, "--nodes=2", "--ntasks-per-node=2"), "FAILED"), "2 ringrun of one step share this node")


@case
def ringrun_without_srun(b):
    script = b.batch(f"{b.binaries}/ringrun --nproc-per-node 2 {b.binaries}/pretrain_gpt {MODEL}3 {MOCK}")
    demand(b.finish(b.submit(script, "--nodes=2")), "this job has 2 nodes, but ringrun was not started by srun",
           "using world size: 2")


@case
def torchrun_once_on_each_node(b):
    program = shutil.which("torchrun")
    works = program and subprocess.run([program, "--help"], capture_output=True, timeout=120).returncode == 0
    if not works:
        print("skipped: torchrun_once_on_each_node: there is no torchrun, or its Python lacks what it imports")
        return
    line = (f"srun {program} --no-python --nnodes $SLURM_NNODES --nproc-per-node 2 --rdzv-backend c10d --rdzv-id $SLURM_JOB_ID "
            f"--rdzv-endpoint $(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1):6000 ")
    text = b.finish(b.submit(b.batch(line + f"{b.binaries}/pretrain_gpt {MODEL}3 {MOCK}"), "--nodes=2"))
    demand(text, "using world size: 4")
    assert agree(losses(text), one_machine(b)), text


def goes_on(b, job):
    """The job has saved and is back in the queue: it starts, and goes on from there."""
    cluster.until(f"job {job} in the queue", lambda: cluster.job(job)["Restarts"] == "1")
    cluster.until(f"job {job} pending", lambda: cluster.job(job)["JobState"] == "PENDING")
    saved = int(re.findall(r"successfully saved checkpoint from iteration +(\d+)", b.text())[-1])
    # slurmd knows by whole seconds which launches of a job are older than its end, and refuses ("already killed, do not launch
    # batch job") one of the second in which that was. Slurm itself waits two minutes.
    time.sleep(2)

    def started():  # Slurm lets a job wait two minutes, and takes no other time while the last start is being tidied up
        cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now")
        return cluster.job(job)["JobState"] == "RUNNING"
    cluster.until(f"the second start of job {job}", started)
    b.until(f"successfully loaded checkpoint from ", f"at iteration {saved}\n")
    b.until("successfully loaded checkpoint from ", "training ...", "lm loss:")
    cluster.ask("scancel", job)
    cluster.until(f"the end of job {job}", lambda: not cluster.ask("squeue", "-h", "-j", job).strip())


@case
def time_limit_saves_and_goes_on(b):
    job = b.submit(EXAMPLES / "pretrain_gpt.sbatch", "--time=1", "--signal=B:USR1@40", **b.environment(ENDLESS + " --log-interval 100"))
    b.until("successfully saved checkpoint from iteration")
    goes_on(b, job)


@case
def requeue_from_outside_saves_and_goes_on(b):
    job = b.submit(EXAMPLES / "pretrain_gpt.sbatch", **b.environment(ENDLESS + " --log-interval 100"))
    b.until("lm loss:")
    cluster.ask("scontrol", "requeue", job)
    b.until("successfully saved checkpoint from iteration")
    goes_on(b, job)


if __name__ == "__main__":
    reason = slurm_cluster.why_not()
    if reason:
        print(f"skipped: no Slurm on this machine: {reason}")
        sys.exit(77)
    if not slurm_cluster.inside():
        slurm_cluster.enter()
    with tempfile.TemporaryDirectory(prefix="ringtron_slurm_") as folder:
        cluster = slurm_cluster.Cluster(pathlib.Path(folder))
        cases.main(Bench)
