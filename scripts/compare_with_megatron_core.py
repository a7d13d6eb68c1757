#!/usr/bin/env python3
"""Holds a corpus, and the order in which training reads it, against the megatron-core wheel.

    python -m venv VENV && VENV/bin/pip install numpy packaging && VENV/bin/pip install --no-deps megatron-core==0.16.1
    VENV/bin/python scripts/compare_with_megatron_core.py PREFIX --seq-length 1024 --global-batch-size 32 \\
        --train-iters 500 [--which valid] [--samples 1000] [other flags that the order depends on]

    VENV/bin/python scripts/compare_with_megatron_core.py --random 200 [--draw-seed 1]

With PREFIX: reads every document with the wheel's IndexedDataset and with a few lines of NumPy that know the format from
docs/formats/indexed_dataset.md, and the first samples of a split with the wheel's GPTDataset and with `inspect data`.
With --random: draws so many combinations of corpora, weights, splits, paths of their own for each part, lengths, seeds and
numbers of samples (tests/golden/data_order.py), and holds all parts that the wheel's BlendedMegatronDatasetBuilder makes of
them against `inspect data`. Combinations that the wheel refuses are drawn besides, and counted.
Exit code 1 if anything differs.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "golden"))
PARTS = ("train", "valid", "test")


def parse_arguments():
    # Both spellings of a flag, as everywhere.
    words = [re.sub(r"^--[^=]*", lambda m: m[0].replace("_", "-"), word) for word in sys.argv[1:]]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix", nargs="?")
    parser.add_argument("--random", type=int, default=0, metavar="COMBINATIONS")
    parser.add_argument("--draw-seed", type=int, default=1)
    parser.add_argument("--seq-length", type=int)
    parser.add_argument("--global-batch-size", type=int)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--train-iters", type=int, default=0)
    length.add_argument("--train-samples", type=int, default=0)
    parser.add_argument("--eval-interval", type=int, default=1000)
    parser.add_argument("--eval-iters", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--split", default="969, 30, 1")
    parser.add_argument("--which", choices=PARTS, default="train")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--inspect", default=str(ROOT / "build" / "cpu" / "bin" / "inspect"))
    flags = parser.parse_args(words)
    if not flags.random and not (flags.prefix and flags.seq_length and flags.global_batch_size and
                                 (flags.train_iters or flags.train_samples)):
        parser.error("expected PREFIX, --seq-length, --global-batch-size and --train-iters or --train-samples; or --random")
    return flags


def wanted_samples(flags):
    """Samples that Megatron's pretrain asks of each part."""
    batch = flags.global_batch_size
    iterations = flags.train_iters or flags.train_samples // batch
    evaluations = iterations // flags.eval_interval + 1
    return (flags.train_samples or iterations * batch, evaluations * flags.eval_iters * batch, flags.eval_iters * batch)


def read_documents(numpy, prefix):
    """The documents of PREFIX, read without the wheel."""
    index = pathlib.Path(prefix + ".idx").read_bytes()
    kinds = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}
    sequences, boundaries = (int(n) for n in numpy.frombuffer(index, "<i8", 2, 18))
    at = 34
    lengths = numpy.frombuffer(index, "<i4", sequences, at)
    bounds = numpy.frombuffer(index, "<i8", boundaries, at + 12 * sequences)
    tokens = numpy.memmap(prefix + ".bin", kinds[index[17]], "r")
    starts = numpy.concatenate([[0], numpy.cumsum(lengths, dtype=numpy.int64)])
    return [tokens[starts[first]:starts[last]] for first, last in zip(bounds, bounds[1:])]


def compare_documents(numpy, indexed, prefix):
    corpus = indexed.IndexedDataset(prefix, multimodal=False, mmap=True)
    ours = read_documents(numpy, prefix)
    bounds = corpus.document_indices
    different = int(len(ours) != len(bounds) - 1)
    tokens = 0
    for document, (first, last) in enumerate(zip(bounds, bounds[1:])):
        theirs = numpy.concatenate([corpus[int(s)] for s in range(first, last)]) if last > first else numpy.empty(0)
        tokens += len(theirs)
        different += document >= len(ours) or not numpy.array_equal(theirs, ours[document])
    print(f"IndexedDataset: {len(bounds) - 1} documents, {len(corpus)} sequences, {tokens} tokens, "
          f"{corpus.index.dtype.__name__}; {different} documents differ")
    return different


def compare_samples(megatron, modules, flags):
    names = ("seq-length", "global-batch-size", "eval-interval", "eval-iters", "seed", "split", "which", "samples")
    command = [flags.inspect, "data", flags.prefix, "--format", "json"]
    for name in names:
        command += [f"--{name}", str(getattr(flags, name.replace("-", "_")))]
    command += ["--train-iters", str(flags.train_iters)] if flags.train_iters else ["--train-samples",
                                                                                   str(flags.train_samples)]
    part = PARTS.index(flags.which)
    compared = different = 0
    with tempfile.TemporaryDirectory() as folder:
        # A cache of its own for each side: the one must not read what the other made.
        printed = subprocess.run(command + ["--data-cache-path", folder + "/ours"], check=True, stdout=subprocess.PIPE)
        dataset = megatron.open_split(modules, flags.prefix, flags.split, part, wanted_samples(flags)[part],
                                      flags.seq_length, flags.seed, folder + "/theirs")
        for number, line in enumerate(printed.stdout.splitlines()):
            sample = json.loads(line)
            theirs = dataset._query_document_sample_shuffle_indices(number)[0].tolist()
            compared += 1
            if sample["sample"] != number or sample["tokens"] != theirs:
                different += 1
                print(f"sample {number} differs")
        print(f"GPTDataset ({flags.which}, {len(dataset)} samples): {compared} samples compared, {different} differ")
        if compared != min(flags.samples, len(dataset)):
            print(f"expected {min(flags.samples, len(dataset))} samples from inspect, got {compared}")
            different += 1
    return different


def inspect_part(program, folder, flags, part, size):
    """What `inspect data` prints of a part: its samples, or None where it makes none."""
    words = []
    for name, value in flags.items():
        value = value if isinstance(value, list) else [str(value)]
        words += [f"--{name}", *(f"{folder}/{word}" if word.startswith("c") else word for word in value)]
    command = [program, "data", "--format", "json", "--which", part, "--samples", str(max(size, 1)), "--data-cache-path",
               "/dev/null/none", *words]
    printed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if printed.returncode != 0:
        return printed.stderr.decode().strip()
    return [json.loads(line)["tokens"] for line in printed.stdout.splitlines()]


def compare_random(modules, flags):
    import data_order
    combinations = refused = parts_compared = samples = different = 0
    kinds = {}
    with tempfile.TemporaryDirectory() as folder:
        data_order.write_corpora(modules, folder)
        for drawn, parts in data_order.combinations(modules, folder, flags.draw_seed, flags.random):
            if isinstance(parts, str):
                refused += 1
                continue
            combinations += 1
            words = drawn.get("data-path") or drawn["train-data-path"]
            weighted = not words[0].startswith("c")
            kind = ("blend" if len(words) > 1 + weighted else "one corpus") + (" with weights" if weighted else "")
            kinds[kind] = kinds.get(kind, 0) + 1
            for name, part in zip(PARTS, parts):
                if part is None or len(part) == 0:
                    continue
                ours = inspect_part(flags.inspect, folder, drawn, name, len(part) + 1)
                theirs = [data_order.sample_tokens(part, number) for number in range(len(part))]
                parts_compared += 1
                samples += len(theirs)
                if ours != theirs:
                    different += 1
                    what = ours if isinstance(ours, str) else f"{len(ours)} samples, expected {len(theirs)}"
                    print(f"{name} differs: {json.dumps(drawn)}: {what}")
    print(f"{combinations} combinations ({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))}; {refused} more that "
          f"the wheel refuses), {parts_compared} parts, {samples} samples compared; {different} parts differ")
    return different


def main():
    flags = parse_arguments()
    import megatron_core_datasets
    modules = megatron_core_datasets.load()
    if flags.random:
        sys.exit(1 if compare_random(modules, flags) else 0)
    import numpy
    different = compare_documents(numpy, modules[1], flags.prefix)
    different += compare_samples(megatron_core_datasets, modules, flags)
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
