#!/usr/bin/env python3
"""The recipe of examples/container: it names the packages of scripts/setup and all programs, what it copies is there, and what it
leaves in the second stage runs. No container is built.

Usage: container_test.py SOURCE BUILD [unittest options]
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
RECIPE = (SOURCE / "examples/container/Containerfile").read_text()
FLAGS = ("--context-parallel-size 2 --num-layers 1 --hidden-size 32 --num-attention-heads 4 --seq-length 32 "
         "--max-position-embeddings 32 --micro-batch-size 1 --train-iters 2 --lr 1e-3 --log-interval 1 --eval-iters 0 "
         "--mock-data --tokenizer-type NullTokenizer --vocab-size 100").split()


def instructions(text):
    """(word, rest) of each instruction, with continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def packages_of_recipe(text):
    command = next(rest for word, rest in instructions(text) if word == "RUN" and "apt-get install" in rest)
    words = command.split("--no-install-recommends", 1)[1].split("&&")[0].split()
    return set(words) - {"ca-certificates"}  # for pip; a machine that has this repository has them


def packages_of_setup(text):
    return set(re.search(r"^packages=\(([^)]*)\)", text, re.MULTILINE)[1].split())


def commands(text, first_word):
    return [part.split() for word, rest in instructions(text) if word == "RUN"
            for part in re.split(r"&&|;", rest) if part.split()[:1] == [first_word]]


class Recipe(unittest.TestCase):
    def test_packages_are_those_of_setup(self):
        setup = (SOURCE / "scripts/setup").read_text()
        self.assertEqual(packages_of_recipe(RECIPE), packages_of_setup(setup))
        # And the comparison finds a difference.
        self.assertNotEqual(packages_of_recipe(RECIPE.replace(" lld", "", 1)), packages_of_setup(setup))
        self.assertNotEqual(packages_of_recipe(RECIPE), packages_of_setup(setup.replace("zlib1g-dev", "zlib1g-dev other-dev")))

    def test_programs_are_all_that_are_installed(self):
        [build] = commands(RECIPE, "scripts/build")
        declared = re.findall(r"ringtron_program\((\w+)", (SOURCE / "apps/CMakeLists.txt").read_text())
        self.assertGreater(len(declared), 5)
        self.assertEqual(sorted(build[2:]), sorted(["src/ringtron/libringtron.a", *declared]))

    def test_what_it_copies_and_calls_is_there(self):
        for word, rest in instructions(RECIPE):
            if word == "COPY" and not rest.startswith("--from"):
                for source in rest.split()[:-1]:
                    self.assertTrue((SOURCE / source).exists(), rest)
        for name in ("scripts/setup", "scripts/build", "examples/container/gather_torch"):
            self.assertIn(name, RECIPE)
            self.assertTrue(os.access(SOURCE / name, os.X_OK), name)
        self.assertEqual(instructions(RECIPE)[-1], ("ENTRYPOINT", '["ringrun"]'))
        ignored = (SOURCE / ".dockerignore").read_text().split()
        for made_here in (".venv", "build", "out"):
            self.assertIn(made_here, ignored)

    def test_the_second_stage_runs(self):
        with tempfile.TemporaryDirectory() as name:
            prefix, torch = pathlib.Path(name, "ringtron"), pathlib.Path(name, "torch")
            for command in (["cmake", "--install", BUILD, "--prefix", prefix],
                            [SOURCE / "examples/container/gather_torch", prefix, torch]):
                done = subprocess.run(command, capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            libraries = subprocess.run(["ldd", prefix / "bin/pretrain_gpt"], capture_output=True, text=True).stdout
            places = [line.split(" => ")[1].split(" (")[0] for line in libraries.splitlines() if " => /" in line]
            for place in (str(pathlib.Path(p).resolve()) for p in places):
                self.assertTrue(place.startswith((name, "/lib", "/usr/lib")), f"{place} is not in the second stage")
            self.assertTrue(any(str(torch) in str(pathlib.Path(p).resolve()) for p in places), libraries)
            done = subprocess.run([prefix / "bin/ringrun", "--nproc-per-node", "2", "pretrain_gpt", *FLAGS],
                                  capture_output=True, text=True, timeout=120, cwd=name,
                                  env={"PATH": f"{prefix}/bin:/usr/bin:/bin", "OMP_NUM_THREADS": "1"})
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("iteration        2/       2", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
