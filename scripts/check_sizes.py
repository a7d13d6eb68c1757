#!/usr/bin/env python3
"""Keeps files under 400 lines, functions under 60 and folders under 25 sources, and prints the ten largest files.

An exception stands in EXCEPTIONS with its reason. A function is taken to be a block that opens with "{" at the end of a
line that holds ")", outside of any other such block; clang-format's layout makes that good enough.
Usage: check_sizes.py [ROOT]
"""
import pathlib
import re
import sys

MAX_FILE, MAX_FUNCTION, MAX_FOLDER = 400, 60, 25
SUFFIXES = {".h", ".cpp", ".cu", ".cuh", ".py"}
EXCEPTIONS = {}  # path, "path:first line of the function" or folder -> reason


def code_only(line):
    line = re.sub(r"'(\\.|[^'\\])'", "0", line)
    return re.sub(r"//.*", "", re.sub(r'"(\\.|[^"\\])*"', '""', line))


def long_functions(lines):
    depth, begin, begin_depth = 0, None, 0
    for number, raw in enumerate(lines, 1):
        line = code_only(raw)
        if begin is None and re.search(r"\)[^;=]*\{\s*$", line) and not re.match(r"\s*(namespace|class|struct)\b", line):
            begin, begin_depth = number, depth
        depth += line.count("{") - line.count("}")
        if begin is not None and depth <= begin_depth:
            if number - begin + 1 > MAX_FUNCTION:
                yield begin, number - begin + 1, lines[begin - 1].strip()
            begin = None


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    sizes, per_folder, faults = [], {}, []

    def fault(key, sentence):
        if key not in EXCEPTIONS:
            faults.append(sentence)

    for top in ("apps", "src", "tests", "benchmarks", "examples", "scripts"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in SUFFIXES:
                continue
            name = str(path.relative_to(root))
            lines = path.read_text().splitlines()
            sizes.append((len(lines), name))
            folder = str(path.parent.relative_to(root))
            per_folder[folder] = per_folder.get(folder, 0) + (path.suffix in {".cpp", ".cu"})
            if len(lines) > MAX_FILE:
                fault(name, f"{name}: {len(lines)} lines, at most {MAX_FILE}")
            if path.suffix != ".py":
                for begin, length, text in long_functions(lines):
                    fault(f"{name}:{text}", f"{name}:{begin}: function of {length} lines, at most {MAX_FUNCTION}: {text}")
    for folder, count in sorted(per_folder.items()):
        if count > MAX_FOLDER:
            fault(folder, f"{folder}: {count} sources, at most {MAX_FOLDER}")
    for length, name in sorted(sizes, reverse=True)[:10]:
        print(f"{length:6} {name}")
    for sentence in faults:
        print(sentence)
    print(f"check_sizes: {len(sizes)} files, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
