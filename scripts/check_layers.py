#!/usr/bin/env python3
"""Holds the #includes under src/ringtron against the DEPS and PUBLIC lists of each folder's CMakeLists.txt.

Fails on an include of a folder that DEPS does not name, of a header that its folder does not list as PUBLIC, and on a
cycle between folders. Usage: check_layers.py [ROOT]
"""
import pathlib
import re
import sys

KEYWORDS = {"TORCH", "SHARED", "PUBLIC", "SRCS", "CUDA_SRCS", "DEPS", "LINK"}


class Folder:
    """What the CMakeLists.txt of one folder declares, all its libraries together."""

    def __init__(self):
        self.libraries, self.public, self.deps = [], set(), set()


def read_folder(path):
    """All CMakeLists.txt of one folder, those of its subfolders included."""
    folder = Folder()
    for cmake_file in sorted(path.rglob("CMakeLists.txt")):
        prefix = cmake_file.parent.relative_to(path).as_posix()
        read_libraries(folder, cmake_file.read_text(), "" if prefix == "." else prefix + "/")
    return folder


def read_libraries(folder, text, prefix):
    for body in re.findall(r"ringtron_library\(([^)]*)\)", re.sub(r"#.*", "", text)):
        name, *words = body.split()
        folder.libraries.append(name)
        lists = {keyword: set() for keyword in KEYWORDS}
        keyword = None
        for word in words:
            if word in KEYWORDS:
                keyword = word
            else:
                lists[keyword].add(word)
        folder.public |= {prefix + header for header in lists["PUBLIC"]}
        folder.deps |= lists["DEPS"]


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
    folders = {file.parent.name: read_folder(file.parent) for file in sorted(source.glob("*/CMakeLists.txt"))}
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
