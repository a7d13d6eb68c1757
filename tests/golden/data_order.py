"""Random ways to ask for data, and what megatron-core's own builder makes of each.

Corpora, weights, splits, lengths, seeds and numbers of samples are drawn; BlendedMegatronDatasetBuilder and GPTDataset of
the wheel (see megatron_core_datasets.py) are the judge. make_data_order_golden.py keeps their answers for the unit tests,
scripts/compare_with_megatron_core.py --random holds `inspect data` against them.
"""
import math
import random

import numpy

import megatron_core_datasets

# documents, shortest, number of lengths: document d has shortest + (d * 7919 + documents) % lengths tokens; token p of it
# is (documents * 131 + d * 31 + p) % 997. Where the shortest is 0 some documents are empty.
CORPORA = [(40, 1, 50), (12, 1, 9), (300, 1, 30), (7, 0, 25), (100, 0, 40), (1, 300, 1), (25, 3, 20), (64, 1, 64),
           (150, 5, 10), (9, 30, 40), (33, 0, 3), (80, 2, 35)]
SPLITS = ["969, 30, 1", "99,1,0", "100,0,0", "80,15,5", "1,1,1", "98,2,0", "90/5/5", "0.5 0.3 0.2", "70,30", "6,3,1",
          "949,50,1", "50,50", "0,1,1"]
PARTS = ("train", "valid", "test")


def document_tokens(corpus, document):
    documents, shortest, lengths = corpus
    length = shortest + (document * 7919 + documents) % lengths
    return (documents * 131 + document * 31 + numpy.arange(length)) % 997


class _FakeTensor:
    """The one method that the wheel's builder of corpora asks of a tensor."""

    def __init__(self, values):
        self.values = values

    def numpy(self):
        return self.values

    def __array__(self, dtype=None, copy=None):
        return numpy.asarray(self.values, dtype=dtype)


def write_corpora(modules, folder):
    """Writes all CORPORA as FOLDER/c0, FOLDER/c1, ..."""
    for number, corpus in enumerate(CORPORA):
        builder = modules[1].IndexedDatasetBuilder(f"{folder}/c{number}.bin", dtype=numpy.uint16)
        for document in range(corpus[0]):
            tokens = document_tokens(corpus, document)
            builder.add_document(_FakeTensor(tokens), [len(tokens)])
        builder.finalize(f"{folder}/c{number}.idx")


def _draw_weight(rng):
    form = rng.randrange(6)
    if form == 0:
        return str(rng.randint(1, 100))
    if form == 1:
        return f"{rng.uniform(0.001, 1):.3f}"
    if form == 2:
        return repr(rng.random() + 1e-9)
    if form == 3:
        return rng.choice(["1e-3", "1e-9", "1e-300", "1e5", ".5", "+2", "3."])
    return f"{rng.uniform(0.1, 10):.2f}"


def _draw_words(rng):
    count = rng.choice([1, 1, 2, 2, 2, 3, 3, 4, 5, 5, 9, 17])
    weighted = rng.random() < 0.55
    words = []
    for _ in range(count):
        words += [_draw_weight(rng)] if weighted else []
        words.append(f"c{rng.randrange(len(CORPORA))}")
    return words


def draw(rng):
    """One combination: flags without their dashes."""
    flags = {"seq-length": rng.choice([2, 3, 5, 8, 16, 31, 64, 128]), "seed": rng.choice([1, 7, 1234, rng.randrange(2**31)]),
             "global-batch-size": rng.choice([1, 2, 5, 8, 16])}
    steps = int(math.exp(rng.uniform(0, math.log(max(2, 40000 / flags["seq-length"] / flags["global-batch-size"])))))
    if rng.random() < 0.5:
        flags["train-iters"] = steps
    else:
        flags["train-samples"] = steps * flags["global-batch-size"] + rng.randrange(flags["global-batch-size"])
    flags["eval-interval"] = rng.choice([1, 10, 100, 1000]) if steps < 100 else rng.choice([50, 1000])
    flags["eval-iters"] = rng.choice([0, 1, 2, 5, 20])
    if rng.random() < 0.7:
        flags["data-path"] = _draw_words(rng)
        flags["split"] = rng.choice(SPLITS) if rng.random() < 0.8 else ",".join(str(rng.randint(0, 100) + (i == 0)) for i in range(3))
    else:
        flags["train-data-path"] = _draw_words(rng)
        for part in PARTS[1:]:
            if rng.random() < 0.7:
                flags[f"{part}-data-path"] = _draw_words(rng)
    return flags


def wanted_samples(flags):
    """Samples that Megatron's pretrain asks of each part."""
    batch = flags["global-batch-size"]
    iterations = flags.get("train-iters") or flags["train-samples"] // batch
    evaluations = iterations // flags["eval-interval"] + 1
    eval_iters = flags["eval-iters"]
    return [flags.get("train-samples") or iterations * batch, evaluations * eval_iters * batch, eval_iters * batch]


def _config(modules, flags, folder):
    gpt, utils = modules[0], modules[4]

    def blend(words):
        return words and utils.get_blend_from_list([w if not w.startswith("c") else f"{folder}/{w}" for w in words])

    sources = ({"blend": blend(flags["data-path"]), "split": flags["split"]} if "data-path" in flags else
               {"blend_per_split": [blend(flags.get(f"{part}-data-path")) for part in PARTS]})
    return gpt.GPTDatasetConfig(
        random_seed=flags["seed"], sequence_length=flags["seq-length"], reset_position_ids=False,
        reset_attention_mask=False, eod_mask_loss=False, create_attention_mask=False,
        tokenizer=megatron_core_datasets.Tokenizer(0), mid_level_dataset_surplus=0.005, path_to_cache=None, **sources)


class _Hangs(Exception):
    pass


def build(modules, flags, folder):
    """The wheel's datasets of the three parts (None where there is none), or the name of what it raises."""
    import importlib
    builder = importlib.import_module("megatron.core.datasets.blended_megatron_dataset_builder")
    gpt = modules[0]

    class Guarded(gpt.GPTDataset):
        def _get_num_epochs(self, tokens):
            if tokens == 0 and self.num_samples is not None:
                raise _Hangs  # it would add nothing to nothing for ever
            return super()._get_num_epochs(tokens)

    Guarded.__name__ = "GPTDataset"
    wanted = wanted_samples(flags)
    try:
        parts = builder.BlendedMegatronDatasetBuilder(Guarded, wanted, lambda: True, _config(modules, flags, folder)).build()
    except (AssertionError, IndexError, _Hangs) as error:
        return type(error).__name__.strip("_")
    # Without samples asked for, nothing is ever read.
    return [part if wanted[i] > 0 else None for i, part in enumerate(parts)]


def sample_tokens(dataset, number):
    while hasattr(dataset, "dataset_index"):
        number, dataset = int(dataset.dataset_sample_index[number]), dataset.datasets[int(dataset.dataset_index[number])]
    return dataset._query_document_sample_shuffle_indices(number)[0].tolist()


def sample_numbers(size):
    """The samples that are compared: the first ones and the last ones."""
    return list(range(min(size, 300))) + list(range(max(300, size - 50), size))


def fingerprint(samples):
    """FNV-1a over whole tokens."""
    value = 0xCBF29CE484222325
    for tokens in samples:
        for token in tokens:
            value = (value ^ token) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def combinations(modules, folder, seed, count):
    """Yields (flags, datasets or what the wheel raises) until `count` were accepted."""
    rng = random.Random(seed)
    accepted = 0
    while accepted < count:
        flags = draw(rng)
        parts = build(modules, flags, folder)
        accepted += not isinstance(parts, str)
        yield flags, parts
