#!/usr/bin/env python3
"""Everything that a user can get wrong, tried on the real programs: each case must end with one clear message, the
expected exit code, and nothing lost or half-written.

  bad_input.py BIN_FOLDER [NAME...]
"""
import itertools
import json
import os
import pathlib
import re
import resource
import signal
import subprocess

from cases import Cases

MODEL = ["--num-layers", "1", "--hidden-size", "32", "--num-attention-heads", "4", "--seq-length", "32",
         "--max-position-embeddings", "32", "--micro-batch-size", "1", "--global-batch-size", "2", "--train-iters", "4",
         "--lr", "1e-3", "--eval-iters", "0", "--log-interval", "1"]
MOCK = ["--mock-data", "--tokenizer-type", "NullTokenizer", "--vocab-size", "50"]
cases = Cases()
case = cases.case


class Bench:
    """Where one case works: programs, a folder of its own, and what to demand."""

    def __init__(self, binaries, folder):
        self.binaries, self.folder = binaries, folder

    def run(self, program, *arguments, **options):
        return subprocess.run([str(self.binaries / program), *map(str, arguments)], capture_output=True, text=True,
                              timeout=120, **options)

    def train(self, ranks, *arguments, model=MODEL, data=MOCK):
        return self.run("ringrun", "--nproc-per-node", ranks, self.binaries / "pretrain_gpt", *model, *data, *arguments)

    def demand(self, result, code, *patterns):
        text = result.stdout + result.stderr
        assert result.returncode == code, f"expected exit code {code}, got {result.returncode}\n{text}"
        for pattern in patterns:
            assert re.search(pattern, text), f"no {pattern!r} in\n{text}"
        return text

    def corpus(self, tokens="1 2 3 4 5 6 7 8 9 10 " * 40, documents=8, vocab=50):
        source = self.folder / "text.jsonl"
        source.write_text("".join(json.dumps({"text": tokens.strip()}) + "\n" for _ in range(documents)))
        result = self.run("preprocess_data", "--input", source, "--output-prefix", self.folder / "c", "--workers", 1,
                          "--tokenizer-type", "NullTokenizer", "--vocab-size", vocab, "--append-eod")
        self.demand(result, 0)
        return self.folder / "c_text_document"


def null(vocab):
    return ["--tokenizer-type", "NullTokenizer", "--vocab-size", str(vocab)]


@case
def sequence_length_and_context_parallel_size(b):
    b.demand(b.train(2, "--context-parallel-size", 2, "--seq-length", 30, "--strict-megatron"), 2, r"seq-length",
             r"multiple of", r"30|4")


@case
def heads_and_tensor_parallel_size(b):
    b.demand(b.train(2, "--tensor-model-parallel-size", 2, "--num-attention-heads", 1, "--kv-channels", 32), 2, r"heads")


@case
def groups_and_tensor_parallel_size(b):
    b.demand(b.train(2, "--tensor-model-parallel-size", 2, "--group-query-attention", "--num-query-groups", 1), 2,
             r"groups")


@case
def world_size(b):
    b.demand(b.train(3, "--tensor-model-parallel-size", 2), 2, r"world size \(3\) is not divisible")


@case
def global_batch(b):
    b.demand(b.train(1, "--global-batch-size", 3, "--micro-batch-size", 2), 2, r"global batch size \(3\) is not divisible")


@case
def all_faults_at_once_and_unknown_flag(b):
    b.demand(b.train(1, "--seq-lenght", 8, "--num-layers", -1), 2, r"--seq-length", r"num-layers")


@case
def sizes_that_no_machine_has(b):
    others = itertools.cycle(["pretrain_gpt", "profile_cp", "verify_cp", "cp_demo_minimal"])
    for flags in (["--hidden-size", 1000000000], ["--ffn-hidden-size", 2000000000], ["--kv-channels", 1 << 30],
                  ["--num-layers", 1 << 30], ["--max-position-embeddings", 1 << 30, "--seq-length", 1 << 30],
                  ["--micro-batch-size", 1 << 30, "--global-batch-size", 1 << 30], ["--vocab-size", (1 << 31) - 1],
                  ["--padded-vocab-size", (1 << 31) - 128], ["--make-vocab-size-divisible-by", 1 << 30], ["--train-iters", 1 << 61]):
        for program in ("check_cp_config", next(others)):
            text = b.demand(b.run(program, *MODEL, *MOCK, "--position-embedding-type", "rope", *flags), 2,
                            r"too large for any machine|divi|multiple", r"at most|divi|multiple")
            assert "frame #" not in text and "bad_alloc" not in text, text
    for flags in (["--seq-length", 10 ** 12], ["--vocab-size", 1 << 31], ["--hidden-size", 1 << 63]):
        b.demand(b.run("pretrain_gpt", *MODEL, *MOCK, *flags), 2, re.escape(flags[0]), r"expected")


# Within every limit, and no machine has it: said before anything is made, with a flag that helps.
@case
def models_larger_than_memory(b):
    wide = ["--num-layers", 200, "--hidden-size", 65536, "--num-attention-heads", 64]
    long = ["--position-embedding-type", "rope", "--seq-length", 1 << 27, "--max-position-embeddings", 1 << 27]
    for flags, advice in ((wide, "--tensor-model-parallel-size"), (long, "--recompute-granularity full|--context-parallel-size"),
                          (["--vocab-size", 1 << 27, "--hidden-size", 4096], "--hidden-size|--tensor-model-parallel-size")):
        text = b.demand(b.train(2, *flags), 2, r"too large for this machine", r"free for each of 2 ranks", r"weights .*optimizer",
                        advice)
        assert "frame #" not in text and "building GPT" in text, text
    b.demand(b.run("check_cp_config", *MODEL, *MOCK, *wide), 0, r"NOTE: that is more than any GPU holds", r"this machine has .* free, less than one rank needs",
             r"--tensor-model-parallel-size")


# Memory that is there when looked for and runs out later.
@case
def memory_that_runs_out(b):
    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (3 << 29, 3 << 29))

    flags = ["--vocab-size", 262144, "--seq-length", 3072, "--max-position-embeddings", 3072, "--micro-batch-size", 1,
             "--global-batch-size", 1]
    text = b.demand(b.run("pretrain_gpt", *MODEL, *MOCK, *flags, preexec_fn=limited,
                          env={**os.environ, "OMP_NUM_THREADS": "1"}), 1, r"may run out of memory", r"out of memory: .*asked for",
                    r"activations", r"Flags that help: --")
    assert "frame #" not in text and "Exception raised" not in text, text


@case
def missing_corpus(b):
    b.demand(b.train(2, "--data-path", b.folder / "absent", data=null(50)), 2, r"absent", r"\.idx|\.bin")


@case
def truncated_corpus(b):
    prefix = b.corpus()
    path = pathlib.Path(str(prefix) + ".bin")
    path.write_bytes(path.read_bytes()[:-10])
    b.demand(b.train(2, "--data-path", prefix, "--split", "1,0,0", data=null(50)), 2, r"c_text_document\.bin",
             r"expected|cut off")


@case
def foreign_corpus(b):
    prefix = b.corpus()
    pathlib.Path(str(prefix) + ".idx").write_text("this is no index, it is a poem" * 10)
    b.demand(b.train(2, "--data-path", prefix, "--split", "1,0,0", data=null(50)), 2, r"c_text_document\.idx")


@case
def token_outside_the_vocabulary(b):
    prefix = b.corpus()
    b.demand(b.train(2, "--data-path", prefix, "--split", "1,0,0", data=null(8)), 2, r"c_text_document", r"document",
             r"position", r"vocabulary")


@case
def bad_lines_are_counted_and_strict_stops(b):
    source = b.folder / "bad.jsonl"
    source.write_text('{"text": "1 2 3"}\nnot json\n{"other": 1}\n{"text": "4 5"}\n')
    common = ["--input", source, "--workers", 2, *null(50)]
    b.demand(b.run("preprocess_data", *common, "--output-prefix", b.folder / "loose"), 0, r"bad\.jsonl:2", r"bad\.jsonl:3",
             r"2 bad lines")
    b.demand(b.run("preprocess_data", *common, "--output-prefix", b.folder / "strict", "--strict"), 1, r"bad\.jsonl:2")
    left = [p.name for p in b.folder.iterdir() if p.name.startswith("strict")]
    assert not left, f"half-written output is left: {left}"


@case
def vocabulary_and_merges_of_two_tokenizers(b):
    text = b.folder / "t.txt"
    text.write_text("the cat sat on the mat and the dog sat on the log " * 50)
    other = b.folder / "o.txt"
    other.write_text("zebra quiz jazz fuzzy pizza buzz " * 50)
    for name, source in (("one", text), ("two", other)):
        b.demand(b.run("train_tokenizer", "--input", source, "--vocab-size", 270, "--output-dir", b.folder / name), 0)
    files = ["--vocab-file", b.folder / "one" / "vocab.json", "--merge-file", b.folder / "two" / "merges.txt"]
    b.demand(b.train(2, "--mock-data", *files, data=["--tokenizer-type", "GPT2BPETokenizer"]), 2,
             r"merge", r"vocab")


def checkpoints(b):
    folder = b.folder / "ck"
    b.demand(b.train(2, "--save", folder, "--save-interval", 2, "--context-parallel-size", 2), 0)
    return folder


def flip(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


@case
def flipped_bit_names_the_file_and_the_previous_checkpoint(b):
    folder = checkpoints(b)
    shard = sorted((folder / "iter_0000004").glob("*.safetensors"))[-1]
    flip(shard)
    b.demand(b.train(2, "--load", folder), 1, shard.name, r"iter_0000002|--ckpt-step 2")


@case
def missing_shard_falls_back_and_says_so(b):
    folder = checkpoints(b)
    shard = sorted((folder / "iter_0000004").glob("*.safetensors"))[-1]
    shard.unlink()
    b.demand(b.train(2, "--load", folder), 0, shard.name, r"successfully loaded checkpoint .* at iteration 2")
    b.demand(b.train(2, "--load", folder, "--ckpt-step", 4), 1, shard.name)


@case
def disk_full_while_saving(b):
    folder = checkpoints(b)
    # A limit on the size of files stands for the full disk: every write beyond it fails.
    line = " ".join(map(str, [b.binaries / "ringrun", "--nproc-per-node", 2, b.binaries / "pretrain_gpt", *MODEL, *MOCK,
                              "--train-iters", 8, "--override-opt-param-scheduler", "--save", folder, "--load", folder,
                              "--save-interval", 2, "--log-interval", 1]))
    result = subprocess.run(["bash", "-c", f"trap '' XFSZ; ulimit -f 4; {line}"], capture_output=True, text=True, timeout=120)
    b.demand(result, 1, r"cannot write|File too large|No space")
    assert (folder / "iter_0000004" / "manifest.json").exists(), "the previous checkpoint is gone"
    left = [p.name for p in folder.iterdir() if "partial" in p.name or "0000006" in p.name]
    assert not left, f"half a checkpoint is left: {left}"
    b.demand(b.train(2, "--load", folder), 0, r"at iteration 4")


@case
def one_rank_with_other_flags(b):
    script = b.folder / "start.sh"
    script.write_text(f'#!/bin/bash\nextra=; [ "$RANK" = 1 ] && extra="--lr 5e-4"\nexec {b.binaries}/pretrain_gpt "$@" $extra\n')
    script.chmod(0o755)
    b.demand(b.run("ringrun", "--nproc-per-node", 2, script, *MODEL, *MOCK), 2, r"different options", r"rank 1", r"lr")


@case
def another_model_in_the_checkpoint(b):
    folder = checkpoints(b)
    text = b.demand(b.train(2, "--load", folder, "--num-attention-heads", 2, "--normalization", "RMSNorm", "--seed", 7), 2,
                    r"--num-attention-heads: 4 in the checkpoint, 2 here", r"--normalization: LayerNorm in the checkpoint, RMSNorm")
    assert "successfully loaded" not in text, text
    evaluate = ["--skip-train", "--eval-iters", 1, "--load", folder]
    for flags, named in ((["--num-layers", 2], r"--num-layers: 1 in the checkpoint, 2 here"),
                         (["--untie-embeddings-and-output-weights"], r"--untie-embeddings-and-output-weights: False .* True"),
                         (["--vocab-size", 51], r"--vocab-size: 50 in the checkpoint, 51 here"),
                         (["--window-size", 8, 0], r"--window-size: not given .* \[8, 0\] here")):
        b.demand(b.train(1, *evaluate, *flags), 2, named)
    b.demand(b.train(1, "--load", folder, "--seed", 7, "--adam-beta2", 0.95, "--train-iters", 4), 0, r"--seed: 1234 in the checkpoint, 7",
             r"--adam-beta2: 0.999 in the checkpoint, 0.95 here", r"successfully loaded")


@case
def another_vocabulary_under_the_same_name(b):
    def make(text):
        (b.folder / "t.txt").write_text(text * 50)
        b.demand(b.run("train_tokenizer", "--input", b.folder / "t.txt", "--vocab-size", 270, "--output-dir", b.folder / "v"), 0)

    folder, data = b.folder / "ck", ["--mock-data", "--vocab-file", b.folder / "v" / "vocab.json", "--merge-file", b.folder / "v" / "merges.txt"]
    make("the cat sat on the mat and the dog sat on the log ")
    b.demand(b.train(1, "--save", folder, "--save-interval", 4, data=data), 0)
    assert "checkpoint was made with" not in b.demand(b.train(1, "--load", folder, data=data), 0, r"successfully loaded")
    make("zebra quiz jazz fuzzy pizza buzz zoo zip quartz ")
    b.demand(b.train(1, "--load", folder, data=data), 2, r"content of the tokenizer's files \(vocabulary\): .* in the checkpoint, .* here",
             r"Give the files that the checkpoint was trained with")


@case
def missing_checkpoint(b):
    b.demand(b.train(1, "--load", b.folder / "none"), 0, r"will start from random")
    for flag in ("--exit-on-missing-checkpoint", "--finetune", "--skip-train"):
        b.demand(b.train(1, "--load", b.folder / "none", flag), 1, r"none", flag)


@case
def what_load_cannot_use_stops(b):
    folder = checkpoints(b)
    b.demand(b.train(1, "--load", folder / "iter_0000004"), 1, r"is one checkpoint", rf"--load {folder}, with --ckpt-step 4")
    megatron = b.folder / "megatron"
    (megatron / "release" / "mp_rank_00").mkdir(parents=True)
    (megatron / "release" / "mp_rank_00" / "model_optim_rng.pt").write_text("x")
    (megatron / "latest_checkpointed_iteration.txt").write_text("release")
    b.demand(b.train(1, "--load", megatron), 1, r"Megatron-LM")
    b.demand(b.train(1, "--load", megatron, "--ckpt-step", 4), 1, r"Megatron-LM")
    for shard in folder.glob("iter_*/*.safetensors"):
        shard.write_bytes(shard.read_bytes()[:-10])
    text = b.demand(b.train(2, "--load", folder, "--save", folder, "--save-interval", 2), 1, r"none can be loaded", r"iteration 2",
                    r"iteration 4")
    assert "from random" not in text, text


@case
def ranks_that_see_other_folders(b):
    for name, seed in (("0", 1), ("1", 2)):
        b.demand(b.train(1, "--save", b.folder / name / "ck", "--save-interval", 4, "--seed", seed), 0)
    script = b.folder / "start.sh"
    script.write_text(f'#!/bin/bash\ncd {b.folder}/$RANK\nexec {b.binaries}/pretrain_gpt "$@"\n')
    script.chmod(0o755)
    b.demand(b.run("ringrun", "--nproc-per-node", 2, script, *MODEL, *MOCK, "--load", "ck"), 1, r"another checkpoint on this machine",
             r"--load must be a folder that all")


@case
def going_back_goes_on_from_the_new_branch(b):
    folder = b.folder / "ck"
    run = lambda *flags: b.train(1, "--train-iters", 8, "--save", folder, "--save-interval", 2, *flags)
    b.demand(run("--exit-interval", 6), 0)
    b.demand(run("--exit-interval", 4, "--load", folder, "--ckpt-step", 2, "--lr", "5e-4", "--override-opt-param-scheduler"), 0,
             r"--save .* does not go on from: iterations 4, 6", r"--lr: 0.001 in the checkpoint, 0.0005 here")
    b.demand(run("--exit-interval", 6, "--load", folder, "--lr", "5e-4"), 0, r"at iteration 4",
             r"abandoned branch or another run are iterations 6")


@case
def control_c_saves_and_ends(b):
    folder = b.folder / "ck"
    run = subprocess.Popen([str(b.binaries / "ringrun"), "--nproc-per-node", "2", str(b.binaries / "pretrain_gpt"), *MODEL,
                            *MOCK, "--train-iters", "100000", "--save", str(folder), "--save-interval", "100000"],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    text = ""
    for line in run.stdout:
        text += line
        if re.search(r"iteration +3/", line):
            run.send_signal(signal.SIGINT)
    code = run.wait()
    assert code in (0, 130), f"exit code {code}\n{text}"
    assert "after receiving SIGINT" in text, text
    assert list(folder.glob("iter_*/manifest.json")), "no checkpoint was saved"


if __name__ == "__main__":
    cases.main(Bench)
