#!/usr/bin/env python3
"""cp_demo_minimal on 8 processes (TP 2 x CP 4), with other transports on 4, and alone.

  cp_demo.py BIN_FOLDER
"""
import pathlib
import re
import subprocess
import sys

# The groups of 8 ranks by TP 2 x CP 4, and what the middle of the exchange looks like.
EIGHT = ["{0, 1}         {0, 2, 4, 6}", "{6, 7}         {1, 3, 5, 7}", "rank 0 holds 16 of the 128 rows", "7g  7h"]
CASES = [
    (8, [], EIGHT),
    (4, ["--cp-comm-type", "a2a"], ["{0, 2}"]),
    (4, ["--tensor-model-parallel-size", "1", "--cp-comm-type", "all_gather", "p2p", "--seq-length", "61",
         "--cp-layout", "contiguous"], ["{0, 1, 2, 3}", "of the 61 rows"]),
    (2, ["--bf16"], ["{0, 1}"]),
    (1, [], ["rank 0 holds 128 of the 128 rows"]),
]

REFUSED = ["--reset-attention-mask", "--reset-position-ids", "--position-embedding-type learned_absolute"]


def main():
    binaries = pathlib.Path(sys.argv[1]).resolve()
    failed = 0
    for ranks, flags, patterns in CASES:
        launcher = [str(binaries / "ringrun"), "--no-prefix", "--nproc-per-node", str(ranks)] if ranks > 1 else []
        result = subprocess.run([*launcher, str(binaries / "cp_demo_minimal"), *flags], capture_output=True, text=True,
                                timeout=300)
        faults = [f"no {pattern!r}" for pattern in [*patterns, "cp_demo_minimal: PASS"] if pattern not in result.stdout]
        if result.returncode != 0:
            faults.append(f"exit code {result.returncode}")
        if "FAIL" in result.stdout:
            faults.append("FAIL")
        print(f"{ranks} processes {' '.join(flags)}: {'; '.join(faults) or 'as expected'}", flush=True)
        if faults:
            failed += 1
            print(result.stdout + result.stderr)
    for flags, said in [*((flag.split(), f"{flag}: expected.*verify_cp") for flag in REFUSED),
                        (["--context-parallel-size", "4"], "ringrun --nproc-per-node 4 PROGRAM")]:
        result = subprocess.run([str(binaries / "cp_demo_minimal"), *flags], capture_output=True, text=True, timeout=60)
        right = result.returncode == 2 and re.search(said, result.stderr) is not None
        print(f"{' '.join(flags)}: {'refused' if right else result.stdout + result.stderr}", flush=True)
        failed += 0 if right else 1
    print(f"{len(CASES) + len(REFUSED) + 1 - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
