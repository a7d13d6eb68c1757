"""Writes gpt_dataset.json: indices and samples that the megatron-core wheel gives for small made-up corpora.

    python make_gpt_dataset_golden.py > gpt_dataset.json      (environment: see megatron_core_datasets.py)

Document d of a corpus of n documents has 1 + (d * 7919 + n) % longest tokens; token p of it is (d * 31 + p) % 997.
"""
import json
import sys
import tempfile

import numpy

import megatron_core_datasets

CASES = [
    # name, documents, longest, sequence length, seed, split, part, samples wanted
    ("one epoch", 40, 50, 16, 1234, "100,0,0", 0, 30),
    ("several epochs", 20, 30, 16, 1, "100,0,0", 0, 70),
    ("separate final epoch", 30, 25, 8, 42, "100,0,0", 0, 104),
    ("final epoch not apart", 12, 9, 4, 7, "100,0,0", 0, 37),
    ("one sample more than two epochs", 10, 9, 5, 99, "100,0,0", 0, 19),
    ("validation part", 60, 20, 8, 1234, "80,15,5", 1, 25),
    ("no count wanted", 60, 20, 8, 5, "969, 30, 1", 0, None),
    ("documents shorter than samples", 50, 3, 32, 3, "100,0,0", 0, 4),
    ("documents longer than samples", 4, 200, 8, 11, "100,0,0", 0, 40),
]


def write_corpus(modules, prefix, documents, longest):
    builder = modules[1].IndexedDatasetBuilder(prefix + ".bin", dtype=numpy.uint16)
    for d in range(documents):
        tokens = (d * 31 + numpy.arange(1 + (d * 7919 + documents) % longest)) % 997
        builder.add_document(FakeTensor(tokens), [len(tokens)])
    builder.finalize(prefix + ".idx")


class FakeTensor:
    """The one method that the builder asks of a tensor."""

    def __init__(self, values):
        self.values = values

    def numpy(self):
        return self.values

    def __array__(self, dtype=None, copy=None):
        return numpy.asarray(self.values, dtype=dtype)


def run_case(modules, case):
    name, documents, longest, s, seed, split, part, samples = case
    with tempfile.TemporaryDirectory() as folder:
        prefix = folder + "/corpus"
        write_corpus(modules, prefix, documents, longest)
        dataset = megatron_core_datasets.open_split(modules, prefix, split, part, samples, s, seed, folder)
        first = [dataset._query_document_sample_shuffle_indices(i)[0].tolist() for i in range(min(5, len(dataset)))]
        return {
            "name": name, "documents": documents, "longest": longest, "sequence_length": s, "seed": seed,
            "split": split, "part": part, "samples": samples,
            "document_index": dataset.document_index.tolist(), "sample_index": dataset.sample_index.tolist(),
            "shuffle_index": dataset.shuffle_index.tolist(), "first_samples": first,
        }


def blend_cases(modules):
    cases = []
    for weights, size in (([0.5, 0.5], 12), ([0.3, 0.7], 40), ([0.1, 0.2, 0.7], 50), ([0.999, 0.001], 20)):
        dataset_index = numpy.zeros(size, dtype=numpy.int16)
        sample_index = numpy.zeros(size, dtype=numpy.int64)
        from megatron.core.datasets import helpers_cpp
        helpers_cpp.build_blending_indices(dataset_index, sample_index, numpy.array(weights), len(weights), size, False)
        cases.append({"weights": weights, "dataset": dataset_index.tolist(), "sample": sample_index.tolist()})
    return cases


def corpus_bytes(modules):
    """A whole .bin and .idx as the wheel's builder writes them."""
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(modules, folder + "/corpus", 5, 4)
        return {half: open(f"{folder}/corpus.{half}", "rb").read().hex() for half in ("bin", "idx")}


def main():
    modules = megatron_core_datasets.load()
    golden = {"corpus_5_4": corpus_bytes(modules), "datasets": [run_case(modules, case) for case in CASES],
              "blends": blend_cases(modules)}
    parts = [json.dumps(key) + ": " + (json.dumps(value) if key == "corpus_5_4" else
             "[\n" + ",\n".join(json.dumps(row) for row in value) + "\n]") for key, value in golden.items()]
    sys.stdout.write("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
