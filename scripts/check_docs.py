#!/usr/bin/env python3
"""Checks the pages: links, repository paths and command blocks of every .md file.

- A relative link leads to a file, and its #anchor to a heading there.
- A path in `code` that begins with a folder of this repository exists; *, {a,b} and a line number after : are understood.
- In ARCHITECTURE.md every path of the table under "Where is ...?" exists, from the root or from src/ringtron.
- A command block is ```bash run or ```bash installed (a test runs it) or stands in NOT_RUN with its reason; ```sh, ```shell and ```console
  would escape this rule and are refused.
Usage: check_docs.py [ROOT]; check_docs.py --runnable [ROOT] prints the places of the blocks that tests run.
"""
import pathlib
import re
import sys

SKIPPED = {".venv", "build", "out", ".git"}
TOPS = ("apps", "benchmarks", "cmake", "docs", "examples", "python", "scripts", "src", "tests")
NOT_RUN = {  # "page: first line of the block" -> why no test runs it
    "README.md: scripts/quickstart   # installs what is missing, builds, trains a tokenizer and a small GPT, resumes it "
    "in another layout": "they install and build; CI runs scripts/test itself, of which this test is a part, and quickstart is run by hand",
    "README.md: scripts/setup --cuda": "it downloads wheels; scripts/test compiles the cuda preset where nvcc exists",
    "CONTRIBUTING.md: scripts/build cpu                  # configure and build into build/cpu":
        "it builds and runs the tests, of which this is one",
    "docs/library.md: scripts/build cpu                                              # or cuda":
        "it installs and compiles; tests/repo/library_test.py does the same",
    "docs/pytorch.md: scripts/build_wheel               # or: scripts/build_wheel cuda":
        "it builds and installs; tests/ops/ops_test.py imports the same package",
    "docs/library.md: cpack --config build/cpu/CPackConfig.cmake -B out": "it downloads a wheel; tests/repo/library_test.py does the rest",
}


def anchor(heading):
    """GitHub's anchor for a heading."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


class Page:
    """One .md file: its prose lines and its fenced blocks apart, each with its line number."""

    def __init__(self, path):
        self.path, self.prose, self.blocks = path, [], []
        fence = None
        for number, line in enumerate(path.read_text().splitlines(), 1):
            mark = re.match(r"\s*(```+|~~~+)(.*)", line)
            if mark and fence is None:
                fence = mark[1]
                self.blocks.append((number, mark[2].split(), []))
            elif mark and mark[1].startswith(fence) and not mark[2].strip():
                fence = None
            elif fence is not None:
                self.blocks[-1][2].append(line)
            else:
                self.prose.append((number, line))

    def anchors(self):
        return {anchor(line.lstrip("#")) for _, line in self.prose if re.match(r"#{1,6} ", line)}


def spelled_out(path):
    """a/{b,c}.h as a/b.h and a/c.h."""
    found = re.search(r"\{([^{}]*,[^{}]*)\}", path)
    if not found:
        return [path]
    return [p for part in found[1].split(",") for p in spelled_out(path[:found.start()] + part + path[found.end():])]


def exists(base, path):
    path = re.sub(r":\d+(-\d+)?$", "", path).rstrip("/")
    if "*" in path:
        return any(base.glob(path))
    return (base / path).exists()


def link_faults(page, root):
    for number, line in page.prose:
        for target in re.findall(r"\]\(<?([^)\s>]+)>?[^)]*\)", re.sub(r"`[^`]*`", "", line)):
            if re.match(r"[a-z][a-z+.-]*:", target):
                continue
            name, _, fragment = target.partition("#")
            file = page.path if not name else (root / name[1:] if name.startswith("/") else page.path.parent / name)
            if not file.exists():
                yield number, f"link to {target}: no such file"
            elif fragment and file.suffix == ".md" and fragment not in Page(file).anchors():
                yield number, f"link to {target}: {file.name} has no such heading"


def path_faults(page, root):
    for number, line in page.prose:
        for span in re.findall(r"`([^`]+)`", line):
            word = span.split()[0] if span.split() else ""
            if not re.match(rf"({'|'.join(TOPS)})/", word) or re.search(r"[<>$]|\.\.\.|[A-Z]{{4}}", word):
                continue  # a placeholder, not a path
            for path in spelled_out(word):
                if not exists(root, path):
                    yield number, f"`{path}`: no such file in the repository"


def table_faults(page, root):
    """Paths of the table that answers "Where is ...?"."""
    inside = False
    for number, line in page.prose:
        if "where is" in line.lower():
            inside = True
        elif inside and line.startswith("#"):
            inside = False
        if not (inside and line.startswith("|")):
            continue
        for span in re.findall(r"`([^`\s]+)`", line):
            if not re.search(r"/|\.(h|cpp|cu|cuh|py|md|txt|json)$", span) or span.startswith("-"):
                continue
            for path in spelled_out(span):
                if not exists(root, path) and not exists(root / "src" / "ringtron", path):
                    yield number, f"`{path}`: no such file from the root or from src/ringtron"


def block_faults(page, root):
    shown = page.path.relative_to(root)
    for number, info, lines in page.blocks:
        if info and info[0] in {"sh", "shell", "console"}:
            yield number, f"block marked {info[0]}: write ```bash run, or ```bash and an entry in NOT_RUN"
        if info[:1] != ["bash"] or info[1:2] in (["run"], ["installed"]):
            continue
        first = next((line.strip() for line in lines if line.strip()), "")
        if f"{shown}: {first}" not in NOT_RUN:
            yield number, ("command block that no test runs: mark it ```bash run, or give the reason in NOT_RUN under "
                           f'"{shown}: {first}"')


def main():
    arguments = [a for a in sys.argv[1:] if a != "--runnable"]
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).parent.parent).resolve()
    pages = [Page(path) for path in sorted(root.rglob("*.md"))
             if not SKIPPED & set(path.relative_to(root).parts)]
    if len(arguments) < len(sys.argv) - 1:
        for page in pages:
            for number, info, _ in page.blocks:
                if info[:2] == ["bash", "run"]:
                    print(f"{page.path.relative_to(root)}:{number}")
        return 0
    count = 0
    for page in pages:
        checks = [link_faults, path_faults, block_faults]
        if page.path == root / "ARCHITECTURE.md":
            checks.append(table_faults)
        for number, sentence in sorted({fault for check in checks for fault in check(page, root)}):
            print(f"{page.path.relative_to(root)}:{number}: {sentence}")
            count += 1
    architecture = root / "ARCHITECTURE.md"
    if architecture.exists() and "where is" not in architecture.read_text().lower():
        print('ARCHITECTURE.md: expected a table under "Where is ...?"')
        count += 1
    print(f"check_docs: {len(pages)} pages, {count} faults")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
