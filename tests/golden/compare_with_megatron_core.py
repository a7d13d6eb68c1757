"""Compares a corpus written by preprocess_data, and samples of it, with what the megatron-core wheel reads.

    python compare_with_megatron_core.py PREFIX OURS.jsonl --seq-length 128 --seed 1234 --samples 2000 --split 969,30,1

OURS.jsonl holds the first samples of our GptDataset, one JSON array of sequence length + 1 ids per line; the test program
gpt_samples prints it with the same arguments. Environment: see megatron_core_datasets.py. Exit code 1 if anything differs.
"""
import argparse
import json
import tempfile

import megatron_core_datasets


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("prefix")
    parser.add_argument("ours")
    parser.add_argument("--seq-length", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--samples", type=int, required=True, help="samples asked of the dataset (decides the epochs)")
    parser.add_argument("--split", default="969, 30, 1")
    parser.add_argument("--part", type=int, default=0, help="0 train, 1 valid, 2 test")
    arguments = parser.parse_args()

    modules = megatron_core_datasets.load()
    corpus = modules[1].IndexedDataset(arguments.prefix, multimodal=False, mmap=True)
    print(f"megatron-core reads {len(corpus)} sequences, {len(corpus.document_indices) - 1} documents, "
          f"{int(corpus.sequence_lengths.sum())} tokens")
    compared = different = 0
    with tempfile.TemporaryDirectory() as cache, open(arguments.ours) as ours:
        dataset = megatron_core_datasets.open_split(modules, arguments.prefix, arguments.split, arguments.part,
                                                    arguments.samples, arguments.seq_length, arguments.seed, cache)
        for number, line in enumerate(ours):
            theirs = dataset._query_document_sample_shuffle_indices(number)[0].tolist()
            compared += 1
            if theirs != json.loads(line):
                different += 1
                print(f"sample {number} differs")
    print(f"{compared} samples compared, {different} differ")
    raise SystemExit(1 if different or not compared else 0)


if __name__ == "__main__":
    main()
