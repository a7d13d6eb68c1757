#!/usr/bin/env python3
"""Signals in every phase of a run, saves that fail, folders that are in use: nothing is lost without a word.

  stop_and_save.py BIN_FOLDER [NAME...]
"""
import fcntl
import json
import pathlib
import re
import resource
import shutil
import signal
import subprocess

from cases import Cases

MODEL = ["--num-layers", "1", "--hidden-size", "32", "--num-attention-heads", "4", "--seq-length", "32",
         "--max-position-embeddings", "32", "--micro-batch-size", "1", "--global-batch-size", "2", "--log-interval", "1"]
MOCK = ["--mock-data", "--tokenizer-type", "NullTokenizer", "--vocab-size", "50"]
LENGTH = ["--lr", "1e-3", "--train-iters", "4", "--eval-iters", "0"]
ENDLESS = "100000000"
cases = Cases()
case = cases.case


class Bench:
    def __init__(self, binaries, folder):
        self.binaries, self.folder, self.save = binaries, folder, folder / "ck"

    def command(self, ranks, *arguments):
        program = [self.binaries / "pretrain_gpt", *MODEL, *MOCK, *arguments]
        launcher = [self.binaries / "ringrun", "--nproc-per-node", ranks] if ranks > 1 else []
        return [str(word) for word in launcher + program]

    def run(self, *arguments, ranks=1):
        return subprocess.run(self.command(ranks, *arguments), capture_output=True, text=True, timeout=120)

    def saving(self, interval=2):
        return ["--save", self.save, "--save-interval", interval]

    def until(self, act, *arguments, ranks=1, **options):
        """Runs; calls act(process, line) at every line of output. Returns (exit code, output)."""
        run = subprocess.Popen(self.command(ranks, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               **options)
        text = ""
        for line in run.stdout:
            text += line
            act(run, line)
        return run.wait(timeout=60), text

    def iterations(self):
        return sorted(int(p.parent.name[5:]) for p in self.save.glob("iter_*/manifest.json"))


def demand(result, code, *patterns):
    got, text = (result.returncode, result.stdout + result.stderr) if hasattr(result, "returncode") else result
    assert got == code, f"expected exit code {code}, got {got}\n{text}"
    for pattern in patterns:
        assert re.search(pattern, text), f"no {pattern!r} in\n{text}"
    return text


def send_at(pattern, number):
    """Sends one signal when the first line with `pattern` appears."""
    sent = []

    def act(run, line):
        if not sent and re.search(pattern, line):
            sent.append(True)
            run.send_signal(number)
    return act


def rank_process(launcher, rank):
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == launcher.pid:
                if f"RANK={rank}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    return int(entry.name)
        except OSError:
            continue
    return None


@case
def a_signal_in_an_endless_evaluation_saves_the_steps_before(b):
    for name in ("SIGTERM", "SIGHUP", "SIGUSR1"):
        result = b.until(send_at(r"iteration +3/", getattr(signal, name)), "--lr", "1e-3", "--train-iters", 9, "--eval-interval", 3,
                         "--eval-iters", ENDLESS, *b.saving(100))
        demand(result, 0, rf"after receiving {name}", r"evaluation at iteration 3 was not finished")
        assert b.iterations() == [3], b.iterations()
        (b.save / "iter_0000003" / "manifest.json").unlink()


@case
def a_signal_to_one_rank_in_an_evaluation(b):
    def act(run, line):
        if re.search(r"iteration +3/", line):
            signal_to = rank_process(run, 1)
            subprocess.run(["kill", "-TERM", str(signal_to)], check=True)
    result = b.until(act, "--lr", "1e-3", "--train-iters", 9, "--eval-interval", 3, "--eval-iters", ENDLESS,
                     "--context-parallel-size", 2, *b.saving(100), ranks=2)
    demand(result, 0, r"after receiving SIGTERM")
    assert b.iterations() == [3], b.iterations()


@case
def a_smaller_batch_than_before_has_samples_to_the_end(b):
    begun = b.run("--lr", "1e-3", "--train-iters", 4, "--eval-iters", 0, "--global-batch-size", 4, *b.saving(4))
    assert begun.returncode == 0, begun.stderr
    result = b.run("--lr", "1e-3", "--train-iters", 9, "--eval-iters", 0, "--load", b.save, "--override-opt-param-scheduler")
    assert result.returncode == 0 and re.search(r"iteration +9/ +9 \| consumed samples: +26 ", result.stdout), result.stderr


@case
def a_signal_while_a_save_goes_on_beside_training(b):
    for pattern in (r"while training goes on", r"iteration +3/", r"successfully saved .* +2 to"):
        result = b.until(send_at(pattern, signal.SIGTERM), "--lr", "1e-3", "--train-iters", ENDLESS, "--eval-iters", 0,
                         "--async-save", *b.saving(2), ranks=2)
        text = demand(result, 0, r"after receiving SIGTERM", r"successfully saved checkpoint from iteration +2 ")
        last = int(re.findall(r"iteration +(\d+)/", text)[-1])
        assert max(b.iterations()) == last, (b.iterations(), last)
        shutil.rmtree(b.save)


@case
def the_models_flags_come_from_the_checkpoint(b):
    """A run that goes on without its model's flags does what it does with them; another value of one is refused."""
    shape = ["--swiglu", "--normalization", "RMSNorm", "--position-embedding-type", "rope", "--untie-embeddings-and-output-weights",
             "--group-query-attention", "--num-query-groups", "2", "--ffn-hidden-size", "48", "--lr", "1e-3", "--eval-iters", "0"]
    demand(b.run(*shape, "--train-iters", 2, *b.saving(2)), 0)
    loss = r"iteration +4/.* lm loss: (\S+)"
    going_on = ["--train-iters", 4, "--load", b.save, "--override-opt-param-scheduler"]
    with_flags = re.search(loss, demand(b.run(*shape, *going_on), 0))[1]
    batch = ["--micro-batch-size", "1", "--global-batch-size", "2", "--log-interval", "1", "--lr", "1e-3", "--eval-iters", "0"]
    short = [str(b.binaries / "pretrain_gpt"), *MOCK, *batch, *map(str, going_on), "--use-checkpoint-args"]
    without = subprocess.run(short, capture_output=True, text=True, timeout=120)
    assert re.search(loss, demand(without, 0, r"--use-checkpoint-args: the model's flags are those of"))[1] == with_flags
    other = subprocess.run([*short, "--ffn-hidden-size", "64"], capture_output=True, text=True, timeout=120)
    demand(other, 2, r"--ffn-hidden-size: 48 in the checkpoint, 64 here")
    shutil.rmtree(b.save)
    demand(subprocess.run(short, capture_output=True, text=True, timeout=120), 1, r"expected a complete checkpoint in --load")


@case
def a_signal_in_the_final_validation(b):
    result = b.until(send_at(r"after training is done", signal.SIGTERM), "--lr", "1e-3", "--train-iters", 4,
                     "--eval-iters", ENDLESS, *b.saving())
    demand(result, 0, r"after receiving SIGTERM", r"was not finished")
    assert b.iterations() == [2, 4], b.iterations()


@case
def a_signal_in_start_up(b):
    for pattern in (r"using torch|torch.float32 for", r"building GPT model", r"building train, validation", r"training \.\.\."):
        code, text = b.until(send_at(pattern, signal.SIGTERM), *LENGTH[:2], "--train-iters", ENDLESS, "--eval-iters", 0,
                             *b.saving(ENDLESS), ranks=2)
        assert code in (0, 128 + signal.SIGTERM), f"exit code {code}\n{text}"  # the latter before the ranks have met
        assert "SIGTERM" in text, text
        assert b.iterations() or "there is nothing to save" in text or code != 0, text


@case
def a_hangup_that_was_ignored_at_the_start_is_ignored(b):
    def act(run, line):
        if re.search(r"iteration +2/", line):
            run.send_signal(signal.SIGHUP)
        if re.search(r"iteration +9/", line):
            run.send_signal(signal.SIGTERM)
    code, text = b.until(act, "--lr", "1e-3", "--train-iters", ENDLESS, "--eval-iters", 0, *b.saving(ENDLESS),
                         preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    demand((code, text), 0, r"iteration +9/", r"after receiving SIGTERM")


@case
def without_save_the_message_says_so(b):
    result = b.until(send_at(r"iteration +2/", signal.SIGTERM), "--lr", "1e-3", "--train-iters", ENDLESS, "--eval-iters", 0)
    demand(result, 0, r"nothing is saved: --save was not given")


def small_files():
    """No file above 4 kB, which a save cannot keep to; stands for a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


@case
def a_save_that_fails_is_tried_again_until_it_succeeds(b):
    demand(b.run(*LENGTH, *b.saving(4)), 0)
    state = {}

    def act(run, line):
        if "SAVE FAILED" in line and "mended" not in state:
            state["mended"] = True
            resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if "successfully saved" in line:
            state["saved"] = True
        if "saved" in state and "told" not in state and re.search(r"iteration .*lm loss", line) and "SAVE FAILED" not in line:
            state["told"] = True  # a second one would end it at once
            run.send_signal(signal.SIGTERM)
    result = b.until(act, "--lr", "1e-3", "--train-iters", ENDLESS, "--eval-iters", 0, "--override-opt-param-scheduler",
                     *b.saving(100), "--load", b.save, preexec_fn=small_files)
    text = demand(result, 0, r"save at iteration 100 failed: .*Training goes on and tries again at iteration 101",
                  r"iteration +101/.*SAVE FAILED 1 time, not saved since iteration: 4 \|",
                  r"limit on file sizes is 0.000 GB", r"after receiving SIGTERM")
    assert len(b.iterations()) >= 3 and b.iterations()[0] == 4, b.iterations()
    first = re.search(r"successfully saved checkpoint from iteration +(\d+)", text)
    assert 101 <= int(first[1]) < 200, text
    assert not list(b.save.glob(".iter*")), list(b.save.iterdir())


@case
def what_cannot_be_saved_at_the_end_is_told(b):
    demand(b.run(*LENGTH, *b.saving(4)), 0)
    result = b.until(lambda run, line: None, "--lr", "1e-3", "--train-iters", 9, "--override-opt-param-scheduler", "--eval-iters", 2,
                     *b.saving(3), "--load", b.save, preexec_fn=small_files, ranks=2)
    demand(result, 1, r"iteration +9/.*SAVE FAILED", r"try 3 of 3", r"validation loss at iteration 9 on test set",
           r"iterations 5 to 9 are lost: .*newest complete checkpoint is \S*iter_0000004")
    assert b.iterations() == [4] and not list(b.save.glob(".iter*")), list(b.save.iterdir())
    demand(b.run("--lr", "1e-3", "--train-iters", 6, "--override-opt-param-scheduler", "--eval-iters", 0, "--load", b.save), 0,
           r"at iteration 4")


@case
def a_signal_while_saves_fail(b):
    result = b.until(send_at("SAVE FAILED", signal.SIGTERM), "--lr", "1e-3", "--train-iters", ENDLESS, "--eval-iters", 0, *b.saving(3),
                     preexec_fn=small_files)
    demand(result, 1, r"try 3 of 3", r"after receiving SIGTERM", r"iterations 1 to \d+ are lost", r"holds no complete checkpoint")


@case
def save_in_use_is_refused_before_any_work(b):
    b.save.mkdir()
    with open(b.save / ".lease", "w") as lease:
        fcntl.flock(lease, fcntl.LOCK_EX)
        lease.write("process 1 on somewhere")
        lease.flush()
        text = demand(b.run(*LENGTH, *b.saving(), ranks=2), 2, r"being written by another run \(process 1 on somewhere\)")
        assert "building GPT model" not in text, text
        evaluate = ["--skip-train", "--eval-iters", 1, *b.saving()]
        demand(b.run(*evaluate), 0, r"validation loss")  # saves nothing, disturbs nobody
    demand(b.run(*LENGTH, *b.saving()), 0)


@case
def output_folders_that_cannot_be_made(b):
    (b.folder / "file").write_text("")
    for flag in ("--save", "--tensorboard-dir", "--data-cache-path"):
        text = demand(b.run(*LENGTH, "--save-interval", 2, flag, b.folder / "file" / "sub", ranks=2), 1, rf"{flag}: cannot make folder")
        assert "building GPT model" not in text, text
    (b.folder / "dangling").symlink_to("gone")
    for flag in ("--save", "--tensorboard-dir", "--data-cache-path", "--load"):
        demand(b.run(*LENGTH, "--save-interval", 2, flag, b.folder / "dangling"), 1,
               rf"{flag}:? .*dangling is a symbolic link to gone, which does not exist")
    demand(b.run(*LENGTH, "--load", b.folder / "dangling", "--save", b.folder / "dangling", "--save-interval", 2), 1, r"a symbolic link to gone")


@case
def what_messages_quote_is_bounded_and_printable(b):
    for flag in ("--save", "--load", "--tensorboard-dir"):
        text = demand(b.run(*LENGTH, "--save-interval", 2, flag, "b" * 100000), 1, r"b{300,}\.\.\. \(\d+ bytes\)")
        assert max(len(line) for line in text.splitlines()) < 2000, "a line is longer than its reader"
    text = demand(b.run(*LENGTH, "--load", "a\x1b[31mb", "--exit-on-missing-checkpoint"), 1, r"a\\x1b\[31mb")
    assert "\x1b" not in text, "a control byte goes to the terminal"


@case
def evaluation_only_as_advised(b):
    advice = demand(b.run("--lr", "1e-3"), 2, r"--skip-train to evaluate only")
    assert "--skip-train" in advice
    demand(b.run("--skip-train", "--eval-iters", 2), 0, r"validation loss at iteration 0 on validation set")
    demand(b.run(*LENGTH, *b.saving()), 0)
    trained = demand(b.run("--skip-train", "--eval-iters", 2, "--load", b.save), 0, r"at iteration 4 on test set")
    # Another length and rate than the checkpoint's are no matter here.
    again = demand(b.run("--skip-train", "--eval-iters", 2, "--load", b.save, "--lr", "5", "--train-iters", 99), 0)
    losses = [re.findall(r"lm loss value: (\S+)", text) for text in (trained, again)]
    assert losses[0] and losses[0] == losses[1], losses


@case
def nothing_to_train_is_told(b):
    demand(b.run(*LENGTH, *b.saving()), 0)
    for length in ("4", "3"):
        demand(b.run("--lr", "1e-3", "--train-iters", length, "--override-opt-param-scheduler", "--eval-iters", 1, "--load", b.save,
                     *b.saving()), 0, rf"nothing to train: the checkpoint is at iteration 4, the run ends at {length}", r"on test set")
    demand(b.run("--lr", "1e-3", "--train-samples", 1), 2, r"--train-samples: expected at least one global batch of 2, got 1")


@case
def nothing_to_do_is_told(b):
    demand(b.run("--skip-train", "--eval-iters", 0), 0, r"--skip-train without --load evaluates weights that are drawn",
           r"--skip-train with --eval-iters 0: nothing is trained and nothing is evaluated")


@case
def what_a_restart_forgets_is_told_in_training(b):
    for flags in (["--no-load-optim"], ["--finetune"]):
        demand(b.run(*LENGTH, "--override-opt-param-scheduler", *b.saving(), "--load", f"{b.save}/", *flags), 0,
               rf"WARNING: {flags[0]} with --load equal to --save")


@case
def a_folder_removed_under_the_run_is_made_again(b):
    def act(run, line):
        if re.search(r"iteration +3/", line):
            shutil.rmtree(b.save)
        if re.search(r"iteration +5/", line):
            run.send_signal(signal.SIGTERM)
    code, text = b.until(act, "--lr", "1e-3", "--train-iters", ENDLESS, "--eval-iters", 0, *b.saving(ENDLESS))
    demand((code, text), 0, r"after receiving SIGTERM", r"successfully saved")
    assert (b.save / ".lease").exists() and len(b.iterations()) == 1


@case
def going_back_in_megatrons_way_is_told(b):
    demand(b.run(*LENGTH, *b.saving()), 0)
    (b.save / "latest_checkpointed_iteration.txt").write_text("2\n")
    more = ["--lr", "1e-3", "--train-iters", 4, "--eval-iters", 0, "--load", b.save]
    demand(b.run(*more), 0, r"WARNING: \S+iteration.txt names iteration 2; it does not count here: going on from 4, .*--ckpt-step 2 goes back",
           r"at iteration 4\n")
    assert "does not count" not in demand(b.run(*more, "--ckpt-step", 2), 0, r"from \S+ at iteration 2\n")


@case
def the_word_at_a_signal_and_a_second_one(b):
    """A rank that is alone; its first line says what follows, and a second SIGTERM a second later does not wait for the step."""
    sent = []

    def act(run, line):
        if re.search(r"iteration +3/", line) and not sent:
            sent.append(run.send_signal(signal.SIGPWR))
    result = b.until(act, "--lr", "1e-3", "--train-iters", ENDLESS, "--eval-iters", 0, *b.saving(ENDLESS))
    demand(result, 0, r"SIGPWR received: ends after the step at work, saving then; a second SIGTERM or Ctrl-C ends at once")
    assert len(b.iterations()) == 1


@case
def whole_tensors_have_plain_names(b):
    demand(b.run(*LENGTH, *b.saving(4), "--swiglu"), 0)
    tensors = json.loads((b.save / "iter_0000004" / "manifest.json").read_text())["tensors"]
    for name, entry in tensors.items():
        assert [p["tensor"] for p in entry["pieces"]] == [name], (name, entry)


@case
def a_link_with_the_name_of_a_save_leads_nowhere(b):
    outside = b.folder / "outside"
    outside.mkdir()
    (outside / "thesis.txt").write_text("precious")
    b.save.mkdir()
    (b.save / ".iter_0000002.partial").symlink_to(outside)
    (b.save / "iter_0000004").symlink_to(outside)
    (b.save / ".lease").symlink_to(outside / "thesis.txt")
    demand(b.run(*LENGTH, *b.saving()), 0)
    assert b.iterations() == [2, 4] and (outside / "thesis.txt").read_text() == "precious"
    assert [p.name for p in outside.iterdir()] == ["thesis.txt"]


if __name__ == "__main__":
    cases.main(Bench)
