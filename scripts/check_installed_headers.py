#!/usr/bin/env python3
"""Holds src/ringtron/installed_headers.txt against the includes of the headers in it.

The doors at its head are what a program includes. The headers behind them must be exactly those that the doors reach, each
one PUBLIC in its folder, so that a header which becomes part of what others build on does so by a line in this list. Outside
Ringtron they may include the standard library and LibTorch alone: a user has nothing else installed.
Usage: check_installed_headers.py [--fix] [ROOT]    (--fix writes the second part)
"""
import pathlib
import re
import sys

from check_layers import read_folder

LIST = "installed_headers.txt"
REACHED = "# Reached from them."
FROM_OUTSIDE = ("ATen/", "c10/", "torch/")


def includes(path):
    return re.findall(r'^\s*#\s*include\s*[<"]([^">]+)[">]', path.read_text(), re.MULTILINE)


def reach(source, doors):
    """Headers reached from the doors -> the header that includes them first; and what is wrong on the way."""
    reached, faults, todo = {}, [], [(door, None) for door in doors]
    while todo:
        header, by = todo.pop()
        if header in reached:
            continue
        if not (source / header).exists():
            faults.append(f"{header}: no such header" + (f", included by {by}" if by else ", a door"))
            continue
        reached[header] = by
        for name in includes(source / header):
            if name.startswith("ringtron/"):
                todo.append((name.removeprefix("ringtron/"), header))
            elif "." in name and not name.startswith(FROM_OUTSIDE):
                faults.append(f"{header}: includes {name}, which is neither of the standard library nor of LibTorch")
    return reached, faults


def main():
    words = [word for word in sys.argv[1:] if word != "--fix"]
    root = pathlib.Path(words[0] if words else pathlib.Path(__file__).parent.parent)
    source = root / "src" / "ringtron"
    head, _, tail = (source / LIST).read_text().partition(REACHED)
    listed = lambda text: [line for line in text.splitlines() if line and not line.startswith("#")]
    doors, behind = listed(head), set(listed(tail))
    reached, faults = reach(source, doors)
    expected = set(reached) - set(doors)
    if "--fix" in sys.argv:
        (source / LIST).write_text(head + REACHED + "\n" + "".join(name + "\n" for name in sorted(expected)))
        behind = expected
    for name in sorted(expected - behind):
        faults.append(f"{name}: included by {reached[name]}, which is installed, and not installed itself; do without it, "
                      f"or add it to src/ringtron/{LIST}")
    for name in sorted(behind - expected):
        faults.append(f"{name}: installed, and no door leads to it; take it from src/ringtron/{LIST}")
    for name in sorted(reached):
        folder, _, rest = name.partition("/")
        if rest and rest not in read_folder(source / folder).public:
            faults.append(f"{name}: installed, and not PUBLIC in src/ringtron/{folder}")
    for fault in faults:
        print(fault)
    print(f"check_installed_headers: {len(doors)} doors, {len(expected)} headers behind them, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
