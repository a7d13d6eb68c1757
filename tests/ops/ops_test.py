#!/usr/bin/env python3
"""The operators for PyTorch over processes on a CPU, against torch's own attention of the whole sequence, in fp64.

Usage: ops_test.py PACKAGES    PACKAGES: the folder with the module `ringtron`; ends with 77 where torch's Python is missing
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import torch_python

RANKS = (1, 2, 4)
SECONDS = 300  # that all ranks of a group may take; far more than they do


def ranks_of(count, packages, folder):
    """Runs ops_test_rank.py on `count` ranks; whether all ended well."""
    started = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")]),
                   "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(count), "GLOO_SOCKET_IFNAME": "lo",
                   "RINGTRON_TEST_STORE": str(pathlib.Path(folder) / f"store{count}"), "RINGTRON_TEST_LIBRARIES": folder}
    script = pathlib.Path(__file__).with_name("ops_test_rank.py")
    ranks = [subprocess.Popen([sys.executable, script], env={**environment, "RANK": str(rank)}) for rank in range(count)]
    try:
        codes = [rank.wait(timeout=SECONDS) for rank in ranks]
    except subprocess.TimeoutExpired:
        codes = ["time-out"]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    print(f"{count} ranks: exit codes {codes}, {time.monotonic() - started:.1f} s", flush=True)
    return all(code == 0 for code in codes)


def main():
    packages = pathlib.Path(sys.argv[1]).resolve()
    if reason := torch_python.missing():
        print(f"ops_test: skipped, since {reason}: scripts/setup installs what torch's Python needs")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        torch_python.stand_in(folder)
        return 0 if all([ranks_of(count, packages, folder) for count in RANKS]) else 1


if __name__ == "__main__":
    sys.exit(main())
