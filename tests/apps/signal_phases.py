#!/usr/bin/env python3
"""Sends SIGTERM to one rank of a running job in each phase: start, data build, first step, forward, backward, optimizer,
evaluation, saving.

Each trial goes on from a checkpoint in a layout of two ranks. Demands that the job ends in order, that the newest complete
checkpoint is that of the last step that was logged (of a run that made none: the one that it began with), and that the
next run loads it and makes a step. Inside a step the moment is chosen by time: a step's first quarter is its forward, the
second half its backward, and the optimizer has a model for which it takes most of the step. Prints one line a trial.

  signal_phases.py BIN_FOLDER [--trials 10] [--seed 1] [PHASE...]
"""
import argparse
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from stop_and_save import rank_process

LAYOUTS = {
    "CP 2": ["--context-parallel-size", "2"],
    "TP 2": ["--tensor-model-parallel-size", "2", "--sequence-parallel"],
    "DP 2, distributed optimizer": ["--use-distributed-optimizer"],
    "PP 2": ["--pipeline-model-parallel-size", "2"],
}
WITHOUT_PIPELINE = list(LAYOUTS)[:3]  # a stage's forwards and backwards take turns
LONG_STEP = ["--num-layers", "2", "--hidden-size", "256", "--seq-length", "256", "--max-position-embeddings", "256",
             "--micro-batch-size", "2", "--global-batch-size", "4"]
LARGE_OPTIMIZER = ["--num-layers", "2", "--hidden-size", "64", "--seq-length", "32", "--max-position-embeddings", "200000",
                   "--micro-batch-size", "1", "--global-batch-size", "2"]
LENGTH = ["--lr", "1e-3", "--train-iters", "1000000", "--num-attention-heads", "4", "--log-interval", "1", "--vocab-size", "100",
          "--tokenizer-type", "NullTokenizer"]
LOGGED = r"iteration +(\d+)/.*lm loss"


class Phase:
    """When a signal is sent: after the first line with `trigger`, when some share of the time to `end` has gone by."""

    def __init__(self, trigger, end, shares=(0.0, 1.0), model=LONG_STEP, flags=(), layouts=tuple(LAYOUTS)):
        self.trigger, self.end, self.shares, self.model, self.flags, self.layouts = trigger, end, shares, model, flags, layouts


STEP = (r"iteration +4/", r"iteration +5/")
PHASES = {
    "start": Phase(None, r"building GPT model"),
    "data build": Phase(r"building train, validation", r"finished creating GPT datasets"),
    "first step": Phase(r"before the start of training step", LOGGED),
    "forward": Phase(*STEP, (0.02, 0.25), layouts=WITHOUT_PIPELINE),
    "backward": Phase(*STEP, (0.5, 0.9), layouts=WITHOUT_PIPELINE),
    "optimizer": Phase(*STEP, (0.3, 0.95), model=LARGE_OPTIMIZER),
    "evaluation": Phase(r"iteration +4/", r"validation loss at iteration 4", flags=["--eval-interval", "4", "--eval-iters", "20"]),
    "saving": Phase(r"saving checkpoint at iteration +4", r"successfully saved checkpoint from iteration +4", model=LARGE_OPTIMIZER),
}


class Trials:
    def __init__(self, binaries, folder, choose):
        self.binaries, self.folder, self.choose = binaries, folder, choose
        self.corpus = folder / "corpus_text_document"
        text = folder / "corpus.jsonl"
        text.write_text("".join('{"text": "%s"}\n' % " ".join(str(choose.randrange(100)) for _ in range(50)) for _ in range(2000)))
        subprocess.run([str(binaries / "preprocess_data"), "--input", str(text), "--output-prefix", str(folder / "corpus"),
                        "--tokenizer-type", "NullTokenizer", "--vocab-size", "100", "--append-eod", "--workers", "1"],
                       check=True, capture_output=True)
        self.prepared = {}

    def command(self, phase, layout, save, *flags):
        evaluation = list(phase.flags) or ["--eval-iters", "0"]
        return [str(word) for word in (
            self.binaries / "ringrun", "--nproc-per-node", 2, self.binaries / "pretrain_gpt", *phase.model, *LENGTH,
            "--data-path", self.corpus, "--split", "90,10,0", *LAYOUTS[layout], *evaluation, "--save", save, "--load", save,
            "--data-cache-path", self.folder / "cache", *flags)]

    def follow(self, command, act):
        """Runs; calls act(run, line) at each line. Returns (exit code, output)."""
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        act(run, "")
        text = ""
        for line in run.stdout:
            text += line
            act(run, line)
        return run.wait(timeout=120), text

    def prepare(self, name, layout):
        """A checkpoint of iteration 2 to begin with, and the seconds from the trigger to the end of the phase."""
        phase = PHASES[name]
        key = (name, layout)
        if key not in self.prepared:
            begin = self.folder / f"begin_{len(self.prepared)}"
            code, text = self.follow(self.command(phase, layout, begin, "--save-interval", 1000, "--exit-interval", 2), lambda run, line: None)
            assert code == 0, text
            times = {}

            def note(run, line):
                if (phase.trigger is None and not line) or (phase.trigger and re.search(phase.trigger, line)):
                    times.setdefault("trigger", time.monotonic())
                elif "trigger" in times and re.search(phase.end, line):
                    times.setdefault("end", time.monotonic())
            trial = self.folder / "calibration"
            shutil.copytree(begin, trial)
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
            interval = 2 if name == "saving" else 1000
            code, text = self.follow(self.command(phase, layout, trial, "--save-interval", interval, "--exit-interval", 6), note)
            shutil.rmtree(trial)
            assert code == 0 and "end" in times, text
            self.prepared[key] = begin, times["end"] - times["trigger"]
        return self.prepared[key]

    def trial(self, name):
        phase = PHASES[name]
        layout, rank = self.choose.choice(list(phase.layouts)), self.choose.randrange(2)
        flags = ["--async-save"] if self.choose.random() < 0.5 else []
        begin, seconds = self.prepare(name, layout)
        delay = seconds * self.choose.uniform(*phase.shares)
        save = self.folder / "save"
        shutil.copytree(begin, save)
        if name == "data build":
            shutil.rmtree(self.folder / "cache", ignore_errors=True)
        sent = []

        def act(run, line):
            if sent or not (phase.trigger is None or re.search(phase.trigger, line)):
                return
            process = None
            while process is None and run.poll() is None:
                process = rank_process(run, rank)
            time.sleep(delay)
            subprocess.run(["kill", "-TERM", str(process)], check=False)
            sent.append(time.monotonic())
        interval = 2 if name == "saving" else 1000
        code, text = self.follow(self.command(phase, layout, save, "--save-interval", interval, *flags), act)
        ended = time.monotonic() - sent[0] if sent else 0.0
        fault = self.fault(name, layout, save, code, text, bool(sent))
        where = "" if phase.trigger is None else f" behind {phase.trigger.split(' +')[0]!r}"
        print(f"{name}: {layout}{', async save' if flags else ''}: SIGTERM to rank {rank} {delay:.2f} s of {seconds:.2f} s{where}, ended "
              f"{ended:.2f} s later with exit code {code}: {'FAILED' if fault else 'complete'}", flush=True)
        shutil.rmtree(save)
        return fault and f"{fault}\n{text}"

    def fault(self, name, layout, save, code, text, was_sent):
        """What is wrong, or nothing."""
        if not was_sent:
            return "no signal was sent"
        # Before the ranks have met a signal ends its process at once, and that or the launcher says so.
        if code not in ((0, 128 + signal.SIGTERM) if name == "start" else (0,)):
            return f"exit code {code}"
        if "SIGTERM" not in text:
            return "no word of the signal"
        last = max([2] + [int(number) for number in re.findall(LOGGED, text)])
        saved = sorted(int(path.parent.name[5:]) for path in save.glob("iter_*/manifest.json"))
        if saved[-1] != last:
            return f"the last step was {last}, the newest checkpoint is of {saved[-1]}"
        code, resumed = self.follow(self.command(PHASES[name], layout, save, "--save-interval", 1000, "--exit-interval", 1), lambda run, line: None)
        if code != 0 or not re.search(rf"successfully loaded checkpoint .* at iteration {last}\b", resumed):
            return f"the next run does not go on from iteration {last}:\n{resumed}"
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", type=pathlib.Path)
    parser.add_argument("phases", nargs="*", default=list(PHASES))
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="ringtron_signal_") as folder:
        trials = Trials(options.binaries.resolve(), pathlib.Path(folder), random.Random(options.seed))
        for name in options.phases:
            for _ in range(options.trials):
                fault = trials.trial(name)
                if fault:
                    failed += 1
                    print(f"FAILED: {fault}", flush=True)
    print(f"{options.trials * len(options.phases) - failed} complete, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
