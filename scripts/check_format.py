#!/usr/bin/env python3
"""Holds every C++ and CUDA file against .clang-format, with the one version of clang-format that requirements.txt pins.

Versions differ in what they write, so no other is taken; without it (no .venv) the check says so and ends with 77.
Usage: check_format.py [--fix] [ROOT]
"""
import pathlib
import re
import subprocess
import sys

SUFFIXES = {".cpp", ".h", ".cu", ".cuh"}
PROJECT = pathlib.Path(__file__).resolve().parent.parent
FILES_A_CALL = 50


def formatter():
    """The pinned wheel's program, or None and why."""
    pinned = re.search(r"^clang-format==(\S+)$", (PROJECT / "requirements.txt").read_text(), re.M).group(1)
    # The wheel's own binary: the script in .venv/bin names the folder it was installed in, which may have moved.
    program = next((PROJECT / ".venv" / "lib").glob("python3*/site-packages/clang_format/data/bin/clang-format"), None)
    if program is None:
        return None, f"clang-format {pinned} is not in .venv: run scripts/setup"
    found = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if pinned not in found:
        return None, f"expected clang-format {pinned} in .venv, got {found.strip()}: run scripts/setup"
    return program, None


def main():
    arguments = [a for a in sys.argv[1:] if a != "--fix"]
    root = pathlib.Path(arguments[0] if arguments else PROJECT).resolve()
    program, missing = formatter()
    if program is None:
        print(f"check_format: {missing}")
        return 77
    files = sorted(path for folder in ("src", "tests", "apps", "benchmarks", "examples")
                   for path in (root / folder).rglob("*") if path.suffix in SUFFIXES)
    faults = []
    for first in range(0, len(files), FILES_A_CALL):
        group = files[first:first + FILES_A_CALL]
        before = [path.read_text() for path in group]
        if "--fix" in sys.argv:
            subprocess.run([program, "-i", *group], check=True)
            faults += [path for path, text in zip(group, before) if path.read_text() != text]
        else:
            said = subprocess.run([program, "--dry-run", "--ferror-limit=1", *group], capture_output=True, text=True).stderr
            faults += [path for path in group if f"{path}:" in said]
    what = "formatted" if "--fix" in sys.argv else "not as clang-format writes it: scripts/check_format.py --fix"
    for path in faults:
        print(f"{path.relative_to(root)}: {what}")
    print(f"check_format: {len(files)} files, {len(faults)} {'changed' if '--fix' in sys.argv else 'faults'}")
    return 1 if faults and "--fix" not in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
