#!/usr/bin/env python3
"""Runs in bad surroundings: outputs closed or full, limits, folders that go. A run goes on and saves, or says why not.

  surroundings.py BIN_FOLDER
"""
import argparse
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

FLAGS = ("--num-layers 1 --hidden-size 16 --num-attention-heads 2 --seq-length 16 --max-position-embeddings 16 "
         "--micro-batch-size 2 --global-batch-size 2 --lr 1e-3 --mock-data --tokenizer-type NullTokenizer --vocab-size 50 "
         "--eval-iters 0 --log-interval 1").split()
LINE = b"learning rate:"
faults = []


def expect(holds, what):
    if not holds:
        faults.append(what)


class Place:
    """A folder of one run, and its command line."""

    def __init__(self, binaries, root, name, iterations, *more):
        self.folder = pathlib.Path(root) / name
        self.folder.mkdir()
        self.save, self.events = self.folder / "ck", self.folder / "tb"
        self.command = [str(binaries / "pretrain_gpt"), *FLAGS, "--train-iters", str(iterations), "--save", str(self.save),
                        "--save-interval", str(iterations // 2), "--tensorboard-dir", str(self.events), *more]

    def saved(self):
        return sorted(p.name for p in self.save.glob("iter_*")) if self.save.is_dir() else []

    def event_bytes(self):
        return b"".join(p.read_bytes() for p in self.events.iterdir())


def closed_descriptors(binaries, root):
    for mask in range(1, 8):
        place = Place(binaries, root, f"closed{mask}", 4)

        def close():
            for fd in range(3):
                if mask >> fd & 1:
                    os.close(fd)

        with open(place.folder / "out", "wb") as out:
            code = subprocess.run(place.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=close).returncode
        expect(code == 0, f"descriptors closed, mask {mask}: exit code {code}")
        expect(place.saved() == ["iter_0000002", "iter_0000004"], f"descriptors closed, mask {mask}: saved {place.saved()}")
        expect(LINE not in place.event_bytes(), f"descriptors closed, mask {mask}: log lines in the event file")
        for part in place.save.rglob("*"):
            expect(part.is_dir() or LINE not in part.read_bytes(), f"descriptors closed, mask {mask}: log lines in {part.name}")


def last_word_without_stderr(binaries, root):
    place = Place(binaries, root, "word", 4, "--num-layers", "-1")
    run = subprocess.run(place.command, stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2))
    expect(run.returncode == 2 and b"--num-layers" in run.stdout, f"stderr closed: the error is not on stdout: {run.stdout[-200:]}")


def closed_pipe(binaries, root):
    for name, error_too in (("pipe", False), ("pipes", True)):
        place = Place(binaries, root, name, 60)
        process = subprocess.Popen(place.command, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT if error_too else subprocess.PIPE)
        process.stdout.readline()
        process.stdout.close()
        told = b"" if error_too else process.stderr.read()
        code = process.wait()
        expect(code == 0 and place.saved() == ["iter_0000030", "iter_0000060"], f"{name} closed: {code}, saved {place.saved()}")
        expect(error_too or told.count(b"standard output cannot be written") == 1, f"{name} closed: told {told}")


def full_stdout(binaries, root):
    if not pathlib.Path("/dev/full").exists():
        return print("surroundings: no /dev/full here")
    place = Place(binaries, root, "full", 4)
    with open("/dev/full", "wb") as full:
        run = subprocess.run(place.command, stdout=full, stderr=subprocess.PIPE)
    expect(run.returncode == 0 and len(place.saved()) == 2, f"stdout full: {run.returncode}, saved {place.saved()}")
    expect(run.stderr.count(b"No space left") == 1, f"stdout full: told {run.stderr}")


def file_size_limit(binaries, root):
    """Less than a checkpoint and than the events, more than nothing: SIGXFSZ would end the process at once."""
    place = Place(binaries, root, "limit", 200, "--save-interval", "1000")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))

    run = subprocess.run(place.command, capture_output=True, preexec_fn=limit)
    expect(run.stdout.count(LINE) == 200, f"file-size limit: {run.stdout.count(LINE)} of 200 iterations, {run.stderr[-300:]}")
    expect(run.stderr.count(b"TensorBoard's events cannot be written") == 1, f"file-size limit: told {run.stderr[-500:]}")
    expect(run.returncode >= 0, f"file-size limit: ended by signal {-run.returncode}")
    expect(run.returncode == 0 or b"File too large" in run.stderr, f"file-size limit: no word: {run.stderr[-500:]}")


def folders_that_go(binaries, root):
    """The working folder and the one of the events are deleted while the run trains."""
    place = Place(binaries, root, "gone", 400)
    working = place.folder / "working"
    working.mkdir()
    process = subprocess.Popen(place.command, cwd=working, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while LINE not in process.stdout.readline():
        pass
    shutil.rmtree(working)
    shutil.rmtree(place.events)
    out, err = process.communicate()
    expect(process.returncode == 0 and len(place.saved()) == 2, f"folders gone: {process.returncode}, {place.saved()}, {err[-300:]}")
    expect(b"was deleted" in err and place.events.is_dir(), f"events' folder gone: told {err[-300:]}")

    run = subprocess.run(["sh", "-c", 'mkdir doomed; cd doomed; rmdir ../doomed; exec "$@"', "sh", *place.command],
                         cwd=place.folder, capture_output=True)
    expect(run.returncode == 2 and b"working folder is gone" in run.stderr, f"started in a deleted folder: {run.stderr[-300:]}")


def launcher(binaries, root):
    place = Place(binaries, root, "launcher", 20)
    command = [str(binaries / "ringrun"), "--nproc-per-node", "2", *place.command[:1], "--context-parallel-size", "2",
               *place.command[1:]]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         preexec_fn=lambda: (os.close(0), os.close(1)))
    expect(run.returncode == 0 and len(place.saved()) == 2, f"launcher without stdout: {run.returncode}, {run.stderr[-300:]}")
    expect(LINE not in place.event_bytes(), "launcher without stdout: log lines in the event file")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", type=pathlib.Path)
    binaries = parser.parse_args().binaries.resolve()
    for test in (closed_descriptors, last_word_without_stderr, closed_pipe, full_stdout, file_size_limit, folders_that_go,
                 launcher):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as root:
            test(binaries, root)
        print(f"{test.__name__}: {time.monotonic() - began:.1f} s")
    print("\n".join(faults) or "surroundings: passed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
