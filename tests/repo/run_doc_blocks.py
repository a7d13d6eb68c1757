#!/usr/bin/env python3
"""Runs every ```bash run block of the pages and compares what it prints with the ```text block after it.

A block runs in a scratch folder that looks like the repository (its entries are links, except out/, which is new for each
page), with build/cpu leading to the build folder given. It must end with exit code 0. Blocks of one page run in order.

A ```bash installed block runs where a library is installed: tests/repo/library_test.py does so.

Comparison: the lines of the ```text block stand in the output in this order; lines between two of them are passed over
too, since ranks print at once; a line "..." in the page says so to the reader. White space counts as one space. Dates and
numbers with a point are compared by form only, since they differ between machines; everything else exactly.

Usage: run_doc_blocks.py ROOT BUILD_FOLDER; run_doc_blocks.py --self-test
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import time

BLOCK_SECONDS = 240
DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+"
DECIMAL = r"[-+]?\d+\.\d+(?:[eE][-+]?\d+)?"


def pattern(line):
    """A regular expression for one expected line."""
    parts = re.split(f"({DATE}|{DECIMAL})", " ".join(line.split()))
    forms = [DATE if re.fullmatch(DATE, p) else DECIMAL if re.fullmatch(DECIMAL, p) else re.escape(p) for p in parts]
    return re.compile("".join(forms))


def missing_line(expected, output):
    """The first expected line that the output lacks, or None."""
    lines = iter([" ".join(line.split()) for line in output.splitlines()])
    for wanted in expected:
        if wanted.strip() in {"", "..."}:
            continue
        form = pattern(wanted)
        if not any(form.fullmatch(line) for line in lines):
            return wanted
    return None


def blocks_with_output(page, mark="run"):
    """(line number, command lines, expected lines or None) of each block that is marked so."""
    for i, (number, info, lines) in enumerate(page.blocks):
        if info[:2] != ["bash", mark]:
            continue
        after = page.blocks[i + 1] if i + 1 < len(page.blocks) else None
        end = number + len(lines) + 2
        adjacent = after and after[1] == ["text"] and not any(t.strip() for n, t in page.prose if end <= n < after[0])
        yield number, lines, after[2] if adjacent else None


def make_scratch(folder, root, build):
    for entry in root.iterdir():
        if entry.name not in {"out", "build", ".git"}:
            (folder / entry.name).symlink_to(entry)
    (folder / "build").mkdir()
    (folder / "build" / "cpu").symlink_to(build)


def run_block(lines, folder, environment=None):
    """What is wrong with the run, and its output."""
    script = "set -euo pipefail\n" + "\n".join(lines)
    try:
        done = subprocess.run(["bash", "-c", script], cwd=folder, text=True, stdin=subprocess.DEVNULL, env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=BLOCK_SECONDS)
    except subprocess.TimeoutExpired as late:
        text = late.stdout or b""  # bytes here, whatever was asked for
        return f"expected it to end within {BLOCK_SECONDS} s", text.decode(errors="replace") if isinstance(text, bytes) else text
    return (f"expected exit code 0, got {done.returncode}" if done.returncode else None), done.stdout


def check_page(page, root, build):
    count = faults = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_scratch(folder, root, build)
        for number, lines, expected in blocks_with_output(page):
            where = f"{page.path.relative_to(root)}:{number}"
            started = time.monotonic()
            problem, output = run_block(lines, folder)
            missing = missing_line(expected or [], output) if problem is None else None
            if missing is not None:
                problem = f"expected this line (decimals by form), which did not come:\n  {missing}"
            print(f"{where}: {'FAILED' if problem else 'ok'}, {time.monotonic() - started:.1f} s")
            if problem:
                print(f"{problem}\n--- output\n{output}---")
            count += 1
            faults += problem is not None
    return count, faults


def self_test():
    """The comparison notices what it must notice."""
    output = "[rank 0] start\nother\n[rank 3]  iteration   5/ 10 | lm loss: 6.1E+00 |\n[rank 0] end 2026-11-23 11:57:00.81\n"
    loss = "[rank 3] iteration 5/ 10 | lm loss: 7.25E-01 |"
    assert missing_line(["[rank 0] start", "...", loss, "[rank 0] end 2020-01-01 00:00:00.123456"], output) is None
    assert missing_line([loss.replace("5/", "6/")], output)       # an integer differs
    assert missing_line([loss.replace("7.25E-01", "nan")], output)  # not the form
    assert missing_line([loss, "[rank 0] start"], output)         # order
    assert missing_line(["lm loss"], output)                      # part of a line
    assert run_block(["false", "true"], ".")[0] and run_block(["true"], ".")[0] is None
    print("run_doc_blocks: self test passed")
    return 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    root, build = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(root / "scripts"))
    import check_docs
    for block, reason in check_docs.NOT_RUN.items():
        print(f"not run here: {block} ({reason})")
    count = faults = 0
    for path in sorted(root.rglob("*.md")):
        if check_docs.SKIPPED & set(path.relative_to(root).parts):
            continue
        page = check_docs.Page(path)
        if any(True for _ in blocks_with_output(page)):
            blocks, wrong = check_page(page, root, build)
            count, faults = count + blocks, faults + wrong
    print(f"run_doc_blocks: {count} blocks, {faults} faults")
    return 1 if faults or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
