#!/usr/bin/env python3
"""Holds the log lines of a resumed run against those of the unbroken one: every iteration must print the same loss.

Also that the line which a run prints out of turn, after its first iteration, takes nothing from the interval's mean; that a loss
which is not a number is printed and counted; that the throughput holds the output layer; that JSON lines and timers agree with it.

  log_lines.py BIN_FOLDER
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

LINE = re.compile(r"iteration +(\d+)/.*lm loss: (\S+) ")


def output(binaries, *flags):
    run = subprocess.run(
        [str(binaries / "pretrain_gpt"), "--num-layers", "1", "--hidden-size", "16", "--num-attention-heads", "2",
         "--seq-length", "16", "--max-position-embeddings", "16", "--micro-batch-size", "2", "--global-batch-size", "2",
         "--train-iters", "6", "--lr", "1e-2", "--mock-data", "--tokenizer-type", "NullTokenizer", "--vocab-size", "50",
         "--eval-iters", "0", *flags], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"log_lines: exit code {run.returncode}\n{run.stdout}{run.stderr}")
    return run.stdout


def losses(binaries, *flags):
    """Iteration -> printed loss."""
    return {int(m[1]): float(m[2]) for m in map(LINE.search, output(binaries, *flags).splitlines()) if m}


def nan_faults(binaries):
    """The first step's loss is finite, all later ones are not."""
    text = output(binaries, "--log-interval", "2", "--lr", "1e30", "--no-check-for-nan-in-loss-and-grad")
    lines = re.findall(r"iteration +(\d+)/.*lm loss: (\S+) .*number of nan iterations: +(\d+)", text)
    expected = [("2", "NAN", "1"), ("4", "NAN", "2"), ("6", "NAN", "2")]
    return [] if lines[1:] == expected else [f"losses that are no numbers: expected {expected}, got {lines[1:]}"]


def throughput_faults(binaries):
    """Nearly all of this model is its output layer: 6 x tokens x hidden x padded vocabulary. Printed times have one decimal."""
    text = output(binaries, "--log-interval", "1", "--vocab-size", "20000", "--log-throughput")
    faults = []
    for ms, tflops in re.findall(r"iteration \(ms\): (\S+) \| throughput per GPU \(TFLOP/s/GPU\): (\S+) ", text):
        layer = 6 * 2 * 16 * 16 * 20096
        done = float(tflops) * 1e12 * float(ms) / 1000
        if not 0.95 * layer < done < 1.1 * layer:
            faults.append(f"throughput {tflops} in {ms} ms is {done:.3e} operations, the output layer alone has {layer:.3e}")
    return faults


def eta_faults(binaries):
    """The last line has no time left; tokens a second are those of the printed time."""
    text = output(binaries, "--log-interval", "1", "--log-eta")
    lines = re.findall(r"iteration \(ms\): (\S+) .* tokens/s: (\d+) \| time left: (\d+:\d\d:\d\d) \|", text)
    faults = [] if len(lines) == 6 and lines[-1][2] == "0:00:00" else [f"--log-eta: expected six lines, the last 0:00:00, got {lines}"]
    for ms, rate, _ in lines:
        expected = 2 * 16 / (float(ms) / 1000)
        if abs(int(rate) - expected) > 0.5 + 0.1 / float(ms) * expected:
            faults.append(f"{rate} tokens/s in {ms} ms a step, expected {expected:.0f}")
    return faults


def json_faults(binaries, folder):
    """Each log line has its line of JSON, whose numbers round to the printed ones; a second run adds to the file."""
    path = pathlib.Path(folder) / "new" / "log.jsonl"
    flags = ["--log-interval", "2", "--log-params-norm", "--log-num-zeros-in-grad", "--log-eta", "--log-jsonl", str(path)]
    text, faults = output(binaries, *flags), []
    records = [json.loads(line) for line in path.read_text().splitlines()]
    start = records.pop(0)
    if start["kind"] != "start" or start["options"]["seq_length"] != "16" or start["world_size"] != 1 or start["iteration"] != 0:
        faults.append(f"--log-jsonl: expected the start and its configuration first, got {start}")
    lines = re.findall(r"iteration +(\d+)/.*\(ms\): (\S+) .*learning rate: (\S+) .*lm loss: (\S+) .*grad norm: (\S+) .*"
                       r"num zeros: (\d+) .*params norm: (\S+) .*tokens/s: (\d+) ", text)
    told = [(str(r["iteration"]), f"{r['milliseconds_per_iteration']:.1f}", f"{r['learning_rate']:.6E}", f"{r['lm loss']:.6E}",
             f"{r['grad_norm']:.3f}", str(r["num_zeros"]), f"{r['params_norm']:.3f}", f"{r['tokens_per_second']:.0f}")
            for r in records]
    if len(lines) != 4 or told != lines:
        faults.append(f"--log-jsonl: expected {lines}, got {told}")
    if any(len(repr(r["lm loss"])) < 12 for r in records):
        faults.append(f"--log-jsonl: losses are rounded: {[r['lm loss'] for r in records]}")
    output(binaries, *flags)
    if len(path.read_text().splitlines()) != 10:
        faults.append("--log-jsonl: a second run does not add to the file")
    return faults


def transfer_faults(binaries, folder):
    """A save and a load tell seconds and bytes, in the log and in JSON; the log may lie in the folder of the checkpoints."""
    save = pathlib.Path(folder) / "told"
    save.mkdir()
    (save / "log.jsonl").write_text("")  # what a run that died before its first save has left
    flags = ["--save", str(save), "--load", str(save), "--log-jsonl", str(save / "log.jsonl")]
    text = output(binaries, *flags, "--save-interval", "3")
    text += output(binaries, *flags, "--ckpt-step", "3", "--async-save", "--save-interval", "2")  # the last save is at the exit
    faults = []
    told = [(what, float(size), float(seconds)) for what, size, seconds in
            re.findall(r"^  (saved|loaded) (\S+) GB in (\S+) s \(\S+ GB/s\)", text, re.M)]
    records = [json.loads(line) for line in (save / "log.jsonl").read_text().splitlines()]
    moved = [r for r in records if r["kind"] in ("save", "load")]
    if [what for what, _, _ in told] != ["saved", "saved", "loaded", "saved", "saved"] or len(moved) != 5:
        return [f"saves and loads: expected two saves, a load and two saves, got {told} and {moved}"]
    if [(r["kind"], r["iteration"]) for r in moved] != [("save", 3), ("save", 6), ("load", 3), ("save", 4), ("save", 6)]:
        faults.append(f"saves and loads in JSON: {moved}")
    for (what, size, seconds), r in zip(told, moved):
        if abs(size - r["bytes"] / 1e9) > 0.006 * size or abs(seconds - r["seconds"]) > 0.006 * seconds:
            faults.append(f"{what} {size} GB in {seconds} s, in JSON {r}")
    files = sum(file.stat().st_size for file in (save / "iter_0000006").glob("*.safetensors"))
    if not 0.5 * files < moved[4]["bytes"] <= files:  # without the headers, which are large here
        faults.append(f"saved {moved[4]['bytes']} bytes in files of {files}")
    if ["seconds_waited" in r for r in moved] != [False, False, False, True, False]:
        faults.append(f"only a save beside training tells for how long training waited: {moved}")
    return faults


def timer_faults(binaries, folder):
    """Parts of a step lie within it; the levels and options choose what is told."""
    faults = []
    base = ["--log-interval", "3", "--global-batch-size", "4"]
    if "across ranks" in output(binaries, *base):
        faults.append("--timing-log-level 0 prints times")
    board = str(pathlib.Path(folder) / "board")
    text = output(binaries, *base, "--timing-log-level", "2", "--use-distributed-optimizer", "--tensorboard-dir", board,
                  "--log-timers-to-tensorboard", "--log-throughput", "--log-world-size-to-tensorboard",
                  "--no-log-loss-scale-to-tensorboard")
    blocks = text.split("(min, max) time across ranks (ms):\n")[1:]
    steps = [float(ms) for ms in re.findall(r"iteration \(ms\): (\S+) ", text)]
    if len(blocks) != 3 or len(steps) != 3:
        faults.append(f"--timing-log-level 2: expected three blocks of times, got {len(blocks)}")
    for step, block in zip(steps, blocks):
        times = {name: float(most) for name, least, most in re.findall(r"^    (\S+) \.+: \((\S+), (\S+)\)$", block, re.M)}
        wanted = {"forward-backward", "all-grads-sync", "params-all-gather", "optimizer-clip-main-grad", "optimizer-inner-step",
                  "optimizer", "batch-generator", "forward-compute", "backward-compute"}
        if set(times) - {"params-all-gather"} != wanted - {"params-all-gather"}:
            faults.append(f"--timing-log-level 2: expected {sorted(wanted)}, got {sorted(times)}")
            continue
        inside = times["forward-compute"] + times["backward-compute"]
        if inside > times["forward-backward"] + 0.05 or times["forward-backward"] + times["optimizer"] > step + 0.2:
            faults.append(f"--timing-log-level 2: parts that are longer than the whole of {step} ms: {times}")
    events = b"".join(file.read_bytes() for file in pathlib.Path(board).iterdir())
    for tag in (b"iteration-time", b"throughput", b"forward-backward-time", b"world-size vs samples"):
        if tag not in events:
            faults.append(f"TensorBoard has no {tag.decode()}")
    if re.search(rb"loss-scale( vs samples)?\x12", events):
        faults.append("TensorBoard has a loss scale in spite of --no-log-loss-scale-to-tensorboard")
    for option, form in (("max", r"max time across ranks \(ms\):\n    forward-backward \.+: \d+\.\d\d\n"),
                         ("all", r"times across ranks \(ms\):\n  forward-backward:\n     rank  0: \d+\.\d\d\n")):
        text = output(binaries, *base, "--timing-log-level", "1", "--timing-log-option", option)
        if not re.search(form, text) or "forward-compute" in text:
            faults.append(f"--timing-log-level 1 --timing-log-option {option}: not the form {form}")
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", type=pathlib.Path)
    binaries = parser.parse_args().binaries
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        unbroken = losses(binaries, "--log-interval", "1", "--save", folder, "--save-interval", "3")
        resumed = losses(binaries, "--log-interval", "1", "--load", folder, "--ckpt-step", "3")
        faults += json_faults(binaries, folder) + timer_faults(binaries, folder) + transfer_faults(binaries, folder)
    if sorted(unbroken) != [1, 2, 3, 4, 5, 6] or sorted(resumed) != [4, 5, 6]:
        faults.append(f"iterations printed: {sorted(unbroken)} unbroken, {sorted(resumed)} resumed")
    for iteration in resumed:
        if resumed[iteration] != unbroken[iteration]:
            faults.append(f"iteration {iteration}: loss {unbroken[iteration]} unbroken, {resumed[iteration]} resumed")
    thirds = losses(binaries, "--log-interval", "3")
    for last in (3, 6):
        mean = sum(unbroken[i] for i in range(last - 2, last + 1)) / 3
        if abs(thirds.get(last, 0.0) - mean) > 1e-5 * mean:
            faults.append(f"iterations {last - 2} to {last}: mean loss {mean}, printed {thirds.get(last)}")
    if thirds.get(1) != unbroken[1]:
        faults.append(f"iteration 1: loss {unbroken[1]}, printed out of turn {thirds.get(1)}")
    faults += nan_faults(binaries) + throughput_faults(binaries) + eta_faults(binaries)
    print("\n".join(faults) or "log_lines: passed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
