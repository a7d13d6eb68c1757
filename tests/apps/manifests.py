#!/usr/bin/env python3
"""The manifests of examples/kubernetes, without a cluster: their structure, and what ringrun makes of the variables that each
pod would have. Exit code 77 where Python has no yaml.

  manifests.py BIN_FOLDER
"""
import os
import pathlib
import subprocess
import sys

from cases import Cases

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples/kubernetes"
PODS, GPUS = 4, 8
cases = Cases()
case = cases.case


class Bench:
    def __init__(self, binaries, folder):
        self.binaries = binaries

    def ranks(self, arguments, variables):
        """Runs ringrun as one pod would, with a shell for the program; returns what each rank was told."""
        options = arguments[:arguments.index("pretrain_gpt")]
        clean = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        run = subprocess.run([self.binaries / "ringrun", *options, "--no-prefix", "sh", "-c",
                              "echo told $RANK $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $MASTER_ADDR $MASTER_PORT"],
                             env={**clean, **variables}, capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr
        return [tuple(line.split()[1:]) for line in run.stdout.splitlines() if line.startswith("told ")]

    def check_flags(self, arguments):
        """The flags of the training program are flags, and fit the number of GPUs."""
        flags = arguments[arguments.index("pretrain_gpt") + 1:]
        run = subprocess.run([self.binaries / "check_cp_config", "--world-size", str(PODS * GPUS), *flags],
                             capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stdout + run.stderr
        wrong = subprocess.run([self.binaries / "check_cp_config", "--world-size", str(PODS * GPUS), *flags, "--no-such-flag"],
                               capture_output=True, text=True, timeout=120)
        assert wrong.returncode != 0, "a flag that does not exist is accepted"


def read(name):
    import yaml
    return yaml.safe_load((EXAMPLES / name).read_text())


def expected(address, port):
    return sorted((str(pod * GPUS + local), str(PODS * GPUS), str(local), str(GPUS), address, port)
                  for pod in range(PODS) for local in range(GPUS))


@case
def jobset(b):
    job = read("jobset.yaml")
    assert (job["apiVersion"], job["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    [workers] = job["spec"]["replicatedJobs"]
    spec = workers["template"]["spec"]
    assert spec["completionMode"] == "Indexed" and spec["parallelism"] == spec["completions"] == PODS and workers["replicas"] == 1
    pod = spec["template"]["spec"]
    [container] = pod["containers"]
    assert container["command"] == ["ringrun"] and container["resources"]["limits"]["nvidia.com/gpu"] == GPUS
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    first = f"{job['metadata']['name']}-{workers['name']}-0-0.{job['metadata']['name']}"
    told = [rank for index in range(PODS)
            for rank in b.ranks(container["args"], {**variables, "JOB_COMPLETION_INDEX": str(index)})]
    assert sorted(told) == expected(first, "29500"), told
    grace = int(next(word for word in container["args"] if word.startswith("--stop-grace=")).split("=")[1])
    assert grace < pod["terminationGracePeriodSeconds"]
    b.check_flags(container["args"])


@case
def trainjob(b):
    job = read("trainjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("trainer.kubeflow.org/v1alpha1", "TrainJob")
    trainer = job["spec"]["trainer"]
    assert trainer["command"] == ["ringrun"] and trainer["numNodes"] == PODS and trainer["numProcPerNode"] == GPUS
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == GPUS
    name = job["metadata"]["name"]
    told = []
    for index in range(PODS):
        told += b.ranks(trainer["args"], {"PET_NNODES": str(PODS), "PET_NPROC_PER_NODE": str(GPUS), "PET_NODE_RANK": str(index),
                                          "PET_MASTER_ADDR": f"{name}-node-0-0.{name}", "PET_MASTER_PORT": "29400",
                                          "JOB_COMPLETION_INDEX": str(index)})
    assert sorted(told) == expected(f"{name}-node-0-0.{name}", "29400"), told
    b.check_flags(trainer["args"])


if __name__ == "__main__":
    try:
        import yaml  # noqa: F401
    except ImportError:
        print("skipped: this Python has no yaml (on Debian: apt-get install python3-yaml)")
        sys.exit(77)
    cases.main(Bench)
