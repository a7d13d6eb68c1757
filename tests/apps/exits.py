#!/usr/bin/env python3
"""How a run ends, and with which exit code: the table of docs/concepts/exits.md.

  exits.py BIN_FOLDER [NAME...]
"""
import re
import signal

from cases import Cases
from stop_and_save import Bench, ENDLESS, LENGTH, demand, send_at

ENDLESSLY = ["--lr", "1e-3", "--train-iters", ENDLESS, "--eval-iters", 0]
cases = Cases()
case = cases.case


def losses(text):
    return dict(re.findall(r"iteration +(\d+)/.*? lm loss: (\S+)", text))


@case
def done_and_saved(b):
    demand(b.run(*LENGTH, *b.saving()), 0)
    demand(b.run(*LENGTH[:2], "--train-iters", 9, "--eval-iters", 0, "--exit-interval", 3, *b.saving(100)), 0, r"exiting program at iteration 3")
    assert b.iterations() == [2, 3, 4], b.iterations()


@case
def after_some_time(b):
    for ranks in (1, 2):
        text = demand(b.run(*ENDLESSLY, "--exit-duration-in-mins", "0.03", *b.saving(ENDLESS), ranks=ranks), 0,
                      r"exiting program after 0.03 minutes")
        assert int(list(losses(text))[-1]) in b.iterations(), text
    text = demand(b.run(*ENDLESSLY, "--exit-duration-in-mins", "1e-9"), 0)  # one step is made
    assert list(losses(text)) == ["1"], text
    demand(b.run(*ENDLESSLY, "--exit-duration-in-mins", 0), 2, r"--exit-duration-in-mins: expected above 0")


@case
def signals(b):
    for name, flags, code in ((signal.SIGTERM, [], 0), (signal.SIGTERM, ["--exit-with-signal-code"], 143), (signal.SIGUSR1, [], 0),
                              (signal.SIGUSR1, ["--exit-with-signal-code"], 138), (signal.SIGINT, [], 130)):
        for ranks in (1, 2):
            demand(b.until(send_at(r"iteration +2/", name), *ENDLESSLY, *flags, *b.saving(ENDLESS), ranks=ranks), code,
                   rf"exiting program after receiving {name.name}", r"successfully saved")
    demand(b.run(*LENGTH, *b.saving(), "--exit-with-signal-code"), 0)


@case
def failures(b):
    demand(b.run(*LENGTH, "--load", b.save, "--exit-on-missing-checkpoint"), 1, r"there is no complete checkpoint")
    demand(b.run(*LENGTH, "--no-such-flag"), 2, r"no-such-flag")


@case
def iterations_that_are_skipped(b):
    whole = losses(demand(b.run("--lr", "1e-3", "--train-iters", 6, "--eval-iters", 0), 0))
    flags = ["--lr", "1e-3", "--train-iters", 6, "--iterations-to-skip", 2, 4, 5]
    text = demand(b.run(*flags, "--eval-interval", 4, "--eval-iters", 1, *b.saving(2)), 0, r"iteration 2 is skipped .*its 2 samples",
                  r"iteration 4 is skipped", r"validation loss at iteration 4", r"iteration +3/.*number of skipped iterations: +1 ",
                  r"iteration +6/.*consumed samples: +12 .*number of skipped iterations: +2 ")
    assert sorted(losses(text)) == ["1", "3", "6"], text
    assert losses(text)["1"] == whole["1"] and losses(text)["3"] != whole["3"], (whole, text)
    assert b.iterations() == [2, 4, 6], b.iterations()
    resumed = demand(b.run(*flags, "--eval-iters", 0, "--load", b.save, "--ckpt-step", 4), 0)
    assert losses(resumed) == {"6": losses(text)["6"]}, (text, resumed)
    text = demand(b.run(*flags, "--eval-iters", 0, "--log-interval", 5, ranks=2), 0,
                  r"iteration +5/.*consumed samples: +10 .*number of skipped iterations: +3 ",
                  r"iteration +6/.*number of skipped iterations: +0 ")
    assert sorted(losses(text)) == ["1", "5", "6"], text
    # The last ones: of the interval's loss the line is that of iteration 4 alone.
    flags = ["--lr", "1e-3", "--train-iters", 6, "--eval-iters", 0, "--log-interval", 3, "--iterations-to-skip"]
    text = demand(b.run(*flags, 5, 6), 0, r"iteration +6/.*consumed samples: +12 .*number of skipped iterations: +2 ")
    assert sorted(losses(text)) == ["1", "3", "6"] and losses(text)["6"] == whole["4"], (whole, text)
    text = demand(b.run(*flags, 4, 5, 6), 0, r"iteration 6 is skipped")
    assert sorted(losses(text)) == ["1", "3"], text
    demand(b.run(*flags, 0), 2, r"--iterations-to-skip: expected at least 1")


if __name__ == "__main__":
    cases.main(Bench)
