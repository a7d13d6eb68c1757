#!/usr/bin/env python3
"""Holds the #includes under src/ringtron against the DEPS and PUBLIC lists of each folder's CMakeLists.txt.

Fails on an include of a folder that DEPS does not name, of a header that its folder does not list as PUBLIC, on a cycle
between folders, and on a source file that no list names. Usage: check_layers.py [ROOT]
"""
import pathlib
import re
import sys

KEYWORDS = {"TORCH", "PUBLIC", "SRCS", "CUDA_SRCS", "DEPS", "LINK"}


class Folder:
    """What the CMakeLists.txt of one folder declares, all its libraries together."""

    def __init__(self):
        self.libraries, self.public, self.sources, self.deps = [], set(), set(), set()


def read_folder(cmake_file):
    folder = Folder()
    text = re.sub(r"#.*", "", cmake_file.read_text())
    for body in re.findall(r"ringtron_library\(([^)]*)\)", text):
        name, *words = body.split()
        folder.libraries.append(name)
        lists = {keyword: set() for keyword in KEYWORDS}
        keyword = None
        for word in words:
            if word in KEYWORDS:
                keyword = word
            else:
                lists[keyword].add(word)
        folder.public |= lists["PUBLIC"]
        folder.sources |= lists["SRCS"] | lists["CUDA_SRCS"]
        folder.deps |= lists["DEPS"]
    return folder


def find_cycle(edges):
    done, path = set(), []

    def visit(name):
        if name in path:
            return path[path.index(name):] + [name]
        if name in done:
            return None
        path.append(name)
        for target in sorted(edges.get(name, ())):
            cycle = visit(target)
            if cycle:
                return cycle
        path.pop()
        done.add(name)
        return None

    for name in sorted(edges):
        cycle = visit(name)
        if cycle:
            return cycle
    return None


def check_file(path, shown, own, allowed, folders):
    faults = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*[<"]ringtron/([^/]+)/([^">]+)[">]', line)
        if not found or found[1] == own:
            continue
        target, header = found[1], found[2]
        where = f"{shown}:{number}: {line.strip()}"
        if target not in allowed:
            faults.append(f"{where}\n    {own} may include: {', '.join(sorted(allowed)) or 'nothing'}")
        elif header not in folders[target].public:
            faults.append(f"{where}\n    PUBLIC headers of {target}: {', '.join(sorted(folders[target].public))}")
    return faults


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    source = root / "src" / "ringtron"
    folders = {file.parent.name: read_folder(file) for file in sorted(source.glob("*/CMakeLists.txt"))}
    home = {library: name for name, folder in folders.items() for library in folder.libraries}
    faults, edges = [], {}
    for name, folder in folders.items():
        for dep in sorted(folder.deps - home.keys()):
            faults.append(f"src/ringtron/{name}/CMakeLists.txt: DEPS names {dep}, which no folder declares")
        edges[name] = {home[dep] for dep in folder.deps if dep in home} - {name}
        for path in sorted((source / name).rglob("*")):
            if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
                continue
            shown = path.relative_to(root)
            if path.suffix in {".cpp", ".cu"} and str(path.relative_to(source / name)) not in folder.sources:
                faults.append(f"{shown}: no SRCS list names this file")
            faults += check_file(path, shown, name, edges[name], folders)
    cycle = find_cycle(edges)
    if cycle:
        faults.append("folders depend on each other: " + " -> ".join(cycle))
    for fault in faults:
        print(fault)
    print(f"check_layers: {len(folders)} folders, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
