#!/usr/bin/env python3
"""Saves with --async-save that fail: training goes on, tries again and says so in every line until one works.

  saves_beside_training.py BIN_FOLDER [NAME...]
"""
import re
import resource
import signal

from cases import Cases
from stop_and_save import Bench, ENDLESS, demand, small_files

ENDLESSLY = ["--lr", "1e-3", "--train-iters", ENDLESS, "--eval-iters", 0, "--async-save"]
FAILED = r"SAVE FAILED (\d+) times?, not saved since iteration: 0 \|"
cases = Cases()
case = cases.case


def log_lines(text):
    """The log lines of training, each with its iteration and what it says of saves that failed."""
    found = re.findall(r"(?m)^.*iteration +(\d+)/.*lm loss.*$", text)
    lines = re.findall(r"(?m)^.*iteration +\d+/.*lm loss.*$", text)
    return [(int(number), re.search(FAILED, line)) for number, line in zip(found, lines)]


def fails_until_mended(b, mend, damage=lambda: None, **options):
    """damage() is called before the first save; mend(run) after the third failure. Then one works, and SIGTERM ends the run."""
    state = set()

    def act(run, line):
        if re.search(r"iteration +1/", line):
            damage()
        told = re.search(FAILED, line)
        if told and int(told[1]) >= 3 and "mended" not in state:
            state.add("mended")
            mend(run)
        if "successfully saved" in line:
            state.add("saved")
        if "saved" in state and "lm loss" in line and not told and "stopped" not in state:
            state.add("stopped")
            run.send_signal(signal.SIGTERM)
    text = demand(b.until(act, *ENDLESSLY, *b.saving(10), **options), 0, r"the save at iteration 10 failed: .*Training goes on and tries again",
                  r"after receiving SIGTERM")
    saved = int(re.search(r"successfully saved checkpoint from iteration +(\d+)", text)[1])
    warned = [number for number, told in log_lines(text) if told]
    first, last = warned[0], warned[-1]
    assert warned == list(range(first, last + 1)), f"log lines without a warning between {first} and {last}: {warned}"
    # How many steps a writing thread takes to fail or to end is the machine's affair.
    assert 10 <= first and last >= first + 2, (first, last, saved)
    counts = [int(told[1]) for _, told in log_lines(text) if told]
    assert counts == sorted(counts) and counts[-1] >= 3, counts
    assert max(b.iterations()) >= saved and not list(b.save.glob(".iter*")), list(b.save.iterdir())


@case
def a_full_disk(b):
    everything = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    fails_until_mended(b, lambda run: resource.prlimit(run.pid, resource.RLIMIT_FSIZE, everything), preexec_fn=small_files)


@case
def a_folder_that_cannot_be_written(b):
    """Whatever has gone wrong with the folder, here that a file has its name, no rights of root get around it."""
    def damage():
        b.save.rename(b.folder / "aside")
        b.save.write_text("in the way")
    fails_until_mended(b, lambda run: b.save.unlink(), damage)


@case
def none_works(b):
    for evaluations in (0, 2):
        text = demand(b.until(lambda run, line: None, "--lr", "1e-3", "--train-iters", 9, "--async-save", "--eval-iters", evaluations,
                              *b.saving(3), preexec_fn=small_files, ranks=2),
                      1, r"try 3 of 3", r"iterations 1 to 9 are lost: .*holds no complete checkpoint")
        assert all(told for number, told in log_lines(text) if number > 4), text
        assert not b.iterations() and not list(b.save.glob(".iter*")), list(b.save.iterdir())


if __name__ == "__main__":
    cases.main(Bench)
