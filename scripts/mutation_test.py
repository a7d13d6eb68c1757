#!/usr/bin/env python3
"""Puts one fault after the other into the sources and sees whether a test fails.

    scripts/mutation_test.py                  all of tests/mutants.txt; what has a result already is left out
    scripts/mutation_test.py NAME...          these, again
    scripts/mutation_test.py --check          whether the list fits the sources; builds nothing
    scripts/mutation_test.py --table          the results so far

Works in a git worktree of its own (build/mutants/tree, of the last commit), with one job, and writes a line for each
mutant to build/mutants/results.txt. A test that fails or does not end has caught the mutant.
"""
import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "tests/mutants.txt"
KEYS = {"mutant", "file", "why", "old", "new", "tests", "equivalent"}
LONGEST_BASELINE = 1200  # seconds of a test without a mutant


def read_list():
    mutants = []
    for block in LIST.read_text().split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if lines:
            mutants.append({key: value.strip() for key, _, value in (line.partition(":") for line in lines)})
    return mutants


def all_tests():
    """The names that ringtron_tests() gives them: folder/file."""
    for path in (ROOT / "tests").rglob("CMakeLists.txt"):
        for folder, arguments in re.findall(r"ringtron_tests\((\w+)([^)]*)\)", path.read_text()):
            for stem in re.findall(r"(\w+_test)\.cpp", arguments):
                yield f"{folder}/{stem}"


def faults_of(mutants):
    seen, tests = set(), set(all_tests())
    for mutant in mutants:
        name = mutant.get("mutant", str(mutant))
        unknown = set(mutant) - KEYS
        missing = {"mutant", "file", "why", "old", "new"} - set(mutant)
        if unknown or missing or ("tests" in mutant) == ("equivalent" in mutant):
            yield f"{name}: keys {sorted(unknown | missing)}; either tests or equivalent must be there"
            continue
        if name in seen:
            yield f"{name}: stands twice"
        seen.add(name)
        path = ROOT / mutant["file"]
        count = path.read_text().count(mutant["old"]) if path.is_file() else 0
        if count != 1 or not mutant["old"] or mutant["old"] == mutant["new"]:
            yield f"{name}: expected its old text once in {mutant['file']}, got {count} times: {mutant['old']}"
        for test in mutant.get("tests", "").split():
            if test.partition(":")[0] not in tests:
                yield f"{name}: there is no test {test}"


def target_of(test):
    return "test_" + test.partition(":")[0].replace("/", "_")


def build(tree, tests, is_mutant):
    """What went wrong, or nothing."""
    environment = {**os.environ, "CMAKE_BUILD_PARALLEL_LEVEL": "1"}
    command = [tree / "scripts/build", "cpu"]
    if is_mutant:
        environment["CCACHE_READONLY"] = "1"  # nobody builds it again
        command = ["cmake", "--build", tree / "build/cpu", "--target"]
    done = subprocess.run(["nice", "-n", "19", *command, *sorted({target_of(test) for test in tests})], cwd=tree,
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return "" if done.returncode == 0 else done.stdout[-3000:]


def verdict_of(tree, test, limit):
    """passed, failed, or hangs after `limit` seconds"""
    program, _, pattern = test.partition(":")
    command = ["nice", "-n", "19", tree / "build/cpu/tests" / program, *([f"--gtest_filter={pattern}"] if pattern else [])]
    child = subprocess.Popen(command, cwd=tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             start_new_session=True)
    try:
        return "passed" if child.wait(limit) == 0 else "failed"
    except subprocess.TimeoutExpired:
        return "hangs"
    finally:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()


def make_tree(tree):
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    if not tree.exists():
        subprocess.run(["git", "worktree", "add", "--quiet", "--force", "--detach", tree, commit], cwd=ROOT, check=True)
        if (ROOT / ".venv").exists():
            (tree / ".venv").symlink_to((ROOT / ".venv").resolve())
        if (ROOT / "build/libtorch_path").exists():
            (tree / "build").mkdir()
            shutil.copy(ROOT / "build/libtorch_path", tree / "build")
    # Also what an interrupted run has left.
    subprocess.run(["git", "checkout", "--quiet", "--force", "--detach", commit], cwd=tree, check=True)


def try_mutant(tree, mutant, limits):
    """(verdict, by which test)"""
    path = tree / mutant["file"]
    text = path.read_text()
    try:
        path.write_text(text.replace(mutant["old"], mutant["new"]))
        for test in mutant["tests"].split():
            if problem := build(tree, [test], is_mutant=True):
                print(problem)
                return "does not compile", test
            if (verdict := verdict_of(tree, test, limits[test])) != "passed":
                return ("caught" if verdict == "failed" else "caught: hangs"), test
        return "survived", "-"
    finally:
        path.write_text(text)


def read_results(path):
    results = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        name, verdict, test, seconds = line.split("\t")
        results[name] = (verdict, test, float(seconds))
    return results


def print_table(mutants, results):
    print("| Mutant | Verdict | Test | s |\n|---|---|---|---|")
    counts = {"caught": 0, "survived": 0, "other": 0}
    for mutant in mutants:
        if mutant["mutant"] not in results or "equivalent" in mutant:
            continue
        verdict, test, seconds = results[mutant["mutant"]]
        counts[verdict if verdict == "survived" else "caught" if verdict.startswith("caught") else "other"] += 1
        print(f"| {mutant['mutant']} | {verdict} | {test} | {seconds:.0f} |")
    equivalent = [mutant["mutant"] for mutant in mutants if "equivalent" in mutant]
    run = counts["caught"] + counts["survived"]
    share = 100.0 * counts["caught"] / run if run else 0.0
    print(f"mutation_test: {run} mutants run, {counts['caught']} caught ({share:.1f} %), {counts['survived']} survived, "
          f"{counts['other']} do not compile; equivalent, not run: {', '.join(equivalent) or 'none'}")
    return counts["survived"] + counts["other"] == 0


def run_all(mutants, names, folder):
    tree, results_file = folder / "tree", folder / "results.txt"
    folder.mkdir(parents=True, exist_ok=True)
    make_tree(tree)
    results = read_results(results_file)
    to_run = [m for m in mutants if "equivalent" not in m and (m["mutant"] in names if names else m["mutant"] not in results)]
    tests = sorted({test for mutant in to_run for test in mutant["tests"].split()})
    if problem := build(tree, tests, is_mutant=False) if tests else "":
        sys.exit(f"{problem}\nmutation_test: the sources do not build without a mutant")
    limits = {}  # a test that takes much longer than without a mutant hangs
    for test in tests:
        start = time.monotonic()
        if (verdict := verdict_of(tree, test, LONGEST_BASELINE)) != "passed":
            sys.exit(f"mutation_test: without a mutant {test} {verdict}")
        limits[test] = max(120, 10 * (time.monotonic() - start))
    for mutant in to_run:
        start = time.monotonic()
        verdict, test = try_mutant(tree, mutant, limits)
        seconds = time.monotonic() - start
        with results_file.open("a") as out:
            out.write(f"{mutant['mutant']}\t{verdict}\t{test}\t{seconds:.1f}\n")
        print(f"{mutant['mutant']}: {verdict} ({test}, {seconds:.0f} s)", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/mutants", help="of the tree and the results")
    arguments = parser.parse_args()
    mutants = read_list()
    faults = list(faults_of(mutants))
    faults += [f"there is no mutant {name}" for name in arguments.names if name not in {m.get("mutant") for m in mutants}]
    for fault in faults:
        print(fault)
    if arguments.check or faults:
        print(f"mutation_test: {len(mutants)} mutants, {len(faults)} faults")
        return 1 if faults else 0
    folder = arguments.folder.resolve()
    if not arguments.table:
        run_all(mutants, set(arguments.names), folder)
    return 0 if print_table(mutants, read_results(folder / "results.txt")) else 1


if __name__ == "__main__":
    sys.exit(main())
