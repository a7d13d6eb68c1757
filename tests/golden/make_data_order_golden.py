"""Writes data_order.json: for random combinations of data flags, what the megatron-core wheel's builder gives.

    python make_data_order_golden.py [--combinations 240] [--seed 14] > data_order.json
                                              (environment: see megatron_core_datasets.py)

For each part: its size, and a fingerprint of the tokens of its first and last samples; of some combinations also the first
samples in full. Combinations that the wheel does not accept are kept with what it raises.
"""
import argparse
import importlib.metadata
import json
import sys
import tempfile

import data_order
import megatron_core_datasets

IN_FULL = 8  # combinations
FULL_SAMPLES = 3


def describe(flags, parts, in_full):
    row = {"flags": flags, "wanted": data_order.wanted_samples(flags)}
    if isinstance(parts, str):
        return dict(row, raises=parts)
    row["parts"] = []
    for part in parts:
        if part is None:
            row["parts"].append(None)
            continue
        numbers = data_order.sample_numbers(len(part))
        samples = [data_order.sample_tokens(part, number) for number in numbers]
        entry = {"size": len(part), "hash": data_order.fingerprint(samples)}
        if in_full:
            entry["first"] = samples[:FULL_SAMPLES]
        row["parts"].append(entry)
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--combinations", type=int, default=240)
    parser.add_argument("--seed", type=int, default=14)
    arguments = parser.parse_args()
    modules = megatron_core_datasets.load()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data_order.write_corpora(modules, folder)
        for flags, parts in data_order.combinations(modules, folder, arguments.seed, arguments.combinations):
            rows.append(describe(flags, parts, len(rows) < IN_FULL))
    head = {"made_by": "tests/golden/make_data_order_golden.py", "megatron_core": importlib.metadata.version("megatron-core"),
            "seed": arguments.seed, "corpora": data_order.CORPORA}
    text = json.dumps(head)[:-1] + ', "combinations": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]}\n"
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
