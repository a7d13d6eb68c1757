#!/usr/bin/env python3
"""What others build on, as they do: an installed Ringtron, the package, the examples, a tarball. Builds nothing of the project.

Usage: library_test.py SOURCE BUILD [unittest options]
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE, BUILD = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
sys.dont_write_bytecode = True
sys.path[:0] = [str(SOURCE / "scripts"), str(SOURCE / "tests/repo")]
import check_docs  # noqa: E402
import run_doc_blocks  # noqa: E402
CLEAN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), "OMP_NUM_THREADS": "1"}


def run(*command, code=0, env=None, cwd=None):
    """Output of a command in a clean environment; fails the test unless it ends with `code`."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env={**CLEAN, **(env or {})}, cwd=cwd)
    output = done.stdout + done.stderr
    if done.returncode != code:
        raise AssertionError(f"{' '.join(map(str, command))}: expected exit code {code}, got {done.returncode}\n{output}")
    return output


class Library(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.home = pathlib.Path(cls.temporary.name)
        cls.prefix, cls.examples = cls.home / "ringtron", cls.home / "out/examples"  # as in docs/library.md
        run("cmake", "--install", BUILD, "--prefix", cls.prefix)
        cls.torch = (cls.prefix / "lib/ringtron/torch").resolve()
        # From the installed sources, without the build's cache of compiled files.
        cls.configure(cls.examples)
        started = time.monotonic()
        run("cmake", "--build", cls.examples, "--target", "custom_cp_training")
        cls.compile_seconds = time.monotonic() - started
        run("cmake", "--build", cls.examples, "-j", 2)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def configure(cls, folder, *options, code=0):
        return run("cmake", "-S", cls.prefix / "share/ringtron/examples", "-B", folder, f"-DCMAKE_PREFIX_PATH={cls.prefix}",
                   *options, code=code)

    def ranks(self, count, example, *flags):
        return run(self.prefix / "bin/ringrun", "--nproc-per-node", count, self.examples / example, *flags)

    def losses(self, output):
        return [float(value) for value in re.findall(r"(?:step \d+[:,] loss|loss without training:) ([\d.]+)", output)]

    def test_installed_headers_are_those_of_the_list(self):
        listed = {line for line in (SOURCE / "src/ringtron/installed_headers.txt").read_text().splitlines() if not line.startswith("#")}
        folder = self.prefix / "include/ringtron"
        installed = {str(path.relative_to(folder)) for path in folder.rglob("*.h")}
        self.assertEqual(installed, listed | {"version.h"})
        for name in installed:  # and none includes one that is not
            for included in re.findall(r'#include "ringtron/([^"]+)"', (folder / name).read_text()):
                self.assertIn(included, installed, name)

    def test_custom_cp_training(self):
        self.assertLessEqual(len((SOURCE / "examples/custom_cp_training.cpp").read_text().splitlines()), 120)
        alone = run(self.examples / "custom_cp_training")
        started = time.monotonic()
        run(self.examples / "custom_cp_training", "--seq-length", 16, "--global-batch-size", 160)  # 3 steps
        print(f"custom_cp_training: compiled in {self.compile_seconds:.1f} s; start and 3 steps {time.monotonic() - started:.1f} s")
        losses = self.losses(alone)
        self.assertEqual(len(losses), 12)
        self.assertLess(losses[-1], losses[0] / 2)
        checkpoints = self.home / "checkpoints"
        over_ranks = self.ranks(2, "custom_cp_training", "--context-parallel-size", 2, "--save", checkpoints)
        self.assertIn("TP 1, CP 2, DP 1, from step 0", over_ranks)
        for one, two in zip(losses, self.losses(over_ranks)):
            self.assertAlmostEqual(one, two, delta=2e-3 * one)
        # The last epoch again, in another layout.
        again = self.ranks(2, "custom_cp_training", "--tensor-model-parallel-size", 2, "--sequence-parallel",
                           "--load", checkpoints, "--ckpt-step", 40)
        self.assertIn("TP 2, CP 1, DP 1, from step 40", again)
        self.assertEqual(len(self.losses(again)), 4)
        for one, two in zip(losses[8:], self.losses(again)):
            self.assertAlmostEqual(one, two, delta=2e-3 * one)

    def test_a_signal_saves_and_ends(self):
        checkpoints = self.home / "stopped"
        flags = ["--seq-length", "512", "--max-position-embeddings", "512", "--log-interval", "1", "--save", checkpoints]  # minutes, if nobody ends it
        ringrun = [self.prefix / "bin/ringrun", "--nproc-per-node", "2", self.examples / "custom_cp_training"]
        with subprocess.Popen([*ringrun, "--context-parallel-size", "2", *flags], env=CLEAN, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as running:
            for line in running.stdout:
                if "step 2," in line:
                    break
            running.send_signal(signal.SIGTERM)
            said = running.stdout.read()
            self.assertEqual(running.wait(), 0, said)
        self.assertIn("stopping after receiving SIGTERM", said)
        self.assertNotIn("epoch 3 of 3", said)
        saved = int(re.search(r"saved checkpoint from iteration +(\d+)", said)[1])
        self.assertIn(f"iter_{saved:07d}", {path.name for path in checkpoints.iterdir()})

    def test_the_commands_of_the_page(self):
        """Blocks marked ```bash installed, in a folder where the page's first commands have been run."""
        page = check_docs.Page(SOURCE / "docs/library.md")
        blocks = list(run_doc_blocks.blocks_with_output(page, "installed"))
        self.assertGreaterEqual(len(blocks), 4)
        for number, lines, expected in blocks:
            problem, output = run_doc_blocks.run_block(lines, self.home, {**CLEAN, "HOME": str(self.home)})
            self.assertIsNone(problem, f"docs/library.md:{number}: {output}")
            self.assertIsNone(run_doc_blocks.missing_line(expected or [], output), f"docs/library.md:{number}: {output}")

    def test_every_example_has_a_section(self):
        text = (SOURCE / "docs/library.md").read_text()
        for path in sorted((SOURCE / "examples").rglob("*")):
            if path.is_file() and path.name != "CMakeLists.txt":
                self.assertIn(f"`{path.relative_to(SOURCE)}`", text)
                if path.suffix == ".cpp":
                    self.assertIn(f"\n### {path.stem}\n", text)

    def test_its_flags(self):
        self.assertIn("--num-layers", run(self.examples / "custom_cp_training", "--help"))
        self.assertIn("did you mean --num-layers", run(self.examples / "custom_cp_training", "--num-layer", 2, code=2))
        said = self.ranks_fail(2, "custom_cp_training", "--tensor-model-parallel-size", 3)
        self.assertEqual(len(re.findall(r"^\[rank \d\] custom_cp_training: ", said, re.MULTILINE)), 1, said)

    def ranks_fail(self, count, example, *flags):
        return run(self.prefix / "bin/ringrun", "--nproc-per-node", count, self.examples / example, *flags, code=2)

    def test_new_layer_kind(self):
        alone = self.losses(run(self.examples / "new_layer_kind", "--fp64"))
        self.assertEqual(len(alone), 9)  # one without training
        for layout in (("--context-parallel-size", 2), ("--tensor-model-parallel-size", 2, "--sequence-parallel")):
            self.assertEqual(self.losses(self.ranks(2, "new_layer_kind", "--fp64", *layout)), alone)
        self.assertNotEqual(self.losses(run(self.examples / "new_layer_kind", "--fp64", "--ffn-hidden-size", 128)), alone)

    def test_new_transport(self):
        alone = self.losses(run(self.examples / "new_transport", "--fp64"))
        output = self.ranks(3, "new_transport", "--fp64", "--context-parallel-size", 3, "--cp-comm-type", "straight")
        self.assertIn("proven: ", output)
        self.assertEqual(self.losses(output), alone)
        self.assertNotEqual(self.losses(run(self.examples / "new_transport", "--fp64", "--seed", 1)), alone)

    def test_cp_attention(self):
        for transport in ("p2p", "all_gather"):
            self.assertRegex(self.ranks(3, "cp_attention", transport), rf"3 ranks, {transport}: largest difference \d\.\de-1\d")
        self.assertIn("p2p, all_gather", self.ranks_fail(2, "cp_attention", "pigeons"))

    def test_another_torch_is_refused_at_configure(self):
        other = self.home / "other"
        (other / "include/torch/headeronly").mkdir(parents=True)
        (other / "include/torch/headeronly/version.h").write_text(
            "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 9\n#define TORCH_VERSION_PATCH 1\n")
        said = " ".join(self.configure(self.home / "refused", f"-DRINGTRON_LIBTORCH={other}", code=1).split())
        self.assertRegex(said, r"built with LibTorch 2\.\d+\.\d+, found 2\.9\.1 in")
        self.assertIn("found none", self.configure(self.home / "refused", f"-DRINGTRON_LIBTORCH={self.home}", code=1))

    def test_another_torch_is_refused_at_load(self):
        stub, library = self.home / "stub.cpp", self.home / "stub.so"
        stub.write_text("#include <map>\n#include <string>\nnamespace caffe2 { const std::map<std::string, std::string>& "
                        "GetBuildOptions() { static std::map<std::string, std::string> m{{\"TORCH_VERSION\", \"2.9.1\"}}; "
                        "return m; } }\n")
        run("c++", "-shared", "-fPIC", stub, "-o", library)
        for program in (self.examples / "cp_attention", self.prefix / "bin/pretrain_gpt"):
            said = run(program, code=2, env={"LD_PRELOAD": str(library)})
            self.assertRegex(said, r"built with LibTorch 2\.\d+\.\d+, but LibTorch 2\.9\.1 is loaded")

    def test_another_version_of_the_package_is_refused(self):
        folder = self.home / "wants_more"
        folder.mkdir()
        (folder / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.25)\nproject(p CXX)\nfind_package(ringtron 0.99 REQUIRED)\n")
        said = run("cmake", "-S", folder, "-B", folder / "out", f"-DCMAKE_PREFIX_PATH={self.prefix}", code=1)
        self.assertIn("0.99", said)

    def test_tarball(self):
        place = self.home / "tarball"
        place.mkdir()
        run("cpack", "--config", BUILD / "CPackConfig.cmake", "-B", place)
        packed, = place.glob("ringtron-*.tar.gz")
        run("tar", "xzf", packed, cwd=place)
        home, = (path for path in place.iterdir() if (path / "bin").is_dir())
        # Nothing of this machine's build in it, and no torch: it is told where that is.
        self.assertFalse((home / "lib/ringtron/torch").exists())
        self.assertIn("libtorch_cpu.so", run(home / "bin/pretrain_gpt", code=127))
        self.assertIn("found none", run(home / "bin/ringtron-use-torch", place, code=2))
        self.assertIn("LibTorch 2.", run(home / "bin/ringtron-use-torch", self.torch))
        output = run(home / "bin/ringrun", "--nproc-per-node", 2, home / "bin/pretrain_gpt", *(
            "--context-parallel-size 2 --num-layers 1 --hidden-size 32 --num-attention-heads 4 --seq-length 32 "
            "--max-position-embeddings 32 --micro-batch-size 1 --train-iters 2 --lr 1e-3 --log-interval 1 --eval-iters 0 "
            "--mock-data --tokenizer-type NullTokenizer --vocab-size 100").split())
        self.assertIn("iteration        2/       2", output)
        libraries = run("ldd", home / "bin/pretrain_gpt")
        self.assertIn(f"libfmt.so.9 => {home}", libraries.replace(f"{home}/bin/../lib", f"{home}"))
        shutil.rmtree(place)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
