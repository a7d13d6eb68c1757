#!/usr/bin/env python3
"""Holds the file lists of the CMakeLists.txt files against the tree.

Every .cpp and .cu under src, tests and apps must be named in the nearest CMakeLists.txt at or above it, every .h and .cuh
under src there or in an #include of its own folder, and every folder of src/ringtron in RINGTRON_FOLDERS.
Usage: check_lists.py [ROOT]
"""
import pathlib
import re
import sys


def words(cmake_file):
    return set(re.findall(r"[\w./-]+", re.sub(r"#.*", "", cmake_file.read_text())))


def nearest_list(path, root):
    for folder in path.parents:
        if (folder / "CMakeLists.txt").exists() and folder != root:
            return folder / "CMakeLists.txt"
        if folder == root:
            return None


def included_in_own_folder(source):
    """Headers that a file of the same folder of src/ringtron includes, as `folder/header`."""
    found = set()
    for path in source.rglob("*"):
        if path.suffix in {".h", ".cpp", ".cu", ".cuh"}:
            own = path.relative_to(source).parts[0]
            text = path.read_text()
            found.update(name for name in re.findall(r'#\s*include\s*"ringtron/([^"]+)"', text)
                         if name.startswith(own + "/"))
    return found


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
    source = root / "src" / "ringtron"
    included = included_in_own_folder(source)
    faults, count = [], 0
    for top in ("src", "tests", "apps"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in {".cpp", ".cu"} and not (top == "src" and path.suffix in {".h", ".cuh"}):
                continue
            count += 1
            shown = path.relative_to(root)
            listing = nearest_list(path, root)
            if listing is None:
                faults.append(f"{shown}: no CMakeLists.txt at or above it; add one")
            elif str(path.relative_to(listing.parent)) in words(listing):
                continue
            elif path.suffix in {".cpp", ".cu"}:
                faults.append(f"{shown}: expected its name in {listing.relative_to(root)}; add it there or delete the file")
            elif str(path.relative_to(source)) not in included:
                faults.append(f"{shown}: neither PUBLIC in {listing.relative_to(root)} nor included by its own folder; "
                              "delete it or use it")
    known = words(root / "CMakeLists.txt")
    for listing in sorted(source.glob("*/CMakeLists.txt")):
        if listing.parent.name not in known:
            faults.append(f"src/ringtron/{listing.parent.name}: expected in RINGTRON_FOLDERS of CMakeLists.txt")
    for fault in faults:
        print(fault)
    print(f"check_lists: {count} files, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
