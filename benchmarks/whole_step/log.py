"""Reads the log of a training run: docs/formats/log_line.md."""
import dataclasses
import re

ITERATION = re.compile(r"iteration\s+(\d+)/\s*\d+ \|.*?elapsed time per iteration \(ms\): ([\d.]+) \|.*?lm loss: ([\d.E+-]+|NAN) \|")
PEAK = re.compile(r"\(after \d+ iterations\) memory \(MB\).*?max allocated: ([\d.]+)")


@dataclasses.dataclass
class Log:
    milliseconds: dict  # by iteration: the mean of the interval that ends there
    losses: dict  # likewise
    peak_bytes: int  # 0 on a CPU, which prints none

    def in_order(self):
        """The losses."""
        return [loss for _, loss in sorted(self.losses.items())]


def read_log(text):
    log = Log({}, {}, 0)
    for line in text.splitlines():
        found = ITERATION.search(line)
        if found:
            iteration = int(found[1])
            log.milliseconds[iteration], log.losses[iteration] = float(found[2]), float(found[3])
        found = PEAK.search(line)
        if found:  # told after the first and the second step: the later one is the larger
            log.peak_bytes = max(log.peak_bytes, int(float(found[1]) * 2**20))
    return log


def timed_intervals(log, warmup, interval):
    """Milliseconds a step of each whole interval that begins after `warmup` steps. The line after the first step is out of
    turn unless every step has one."""
    return [ms for iteration, ms in sorted(log.milliseconds.items())
            if iteration % interval == 0 and iteration - interval >= warmup]
