"""Imports megatron.core.datasets of the megatron-core wheel without PyTorch.

The classes that decide the order of the data (IndexedDataset, GPTDataset) use NumPy and the wheel's own compiled
helpers; torch serves them only as a base class and as a question whether ranks exist. A stand-in for torch and for the
parts of megatron.core that need it lets the wheel's real code run in a small environment:

    python -m venv VENV && VENV/bin/pip install numpy packaging && VENV/bin/pip install --no-deps megatron-core==0.16.1
"""
import importlib
import importlib.util
import pathlib
import sys
import types
from unittest import mock


class _StandIn(types.ModuleType):
    """A module in which every name exists."""

    def __init__(self, name):
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        # Names of types must be types, for they stand in annotations.
        return type(name, (), {}) if name[0].isupper() else mock.MagicMock(name=f"{self.__name__}.{name}")


class _StandInFinder:
    """Answers imports of torch.* and of the parts of megatron.core outside of datasets."""

    def find_spec(self, name, path=None, target=None):
        wanted = name.split(".")[0] == "torch" or (
            name.startswith("megatron.core.") and not name.startswith("megatron.core.datasets"))
        return importlib.util.spec_from_loader(name, self) if wanted else None

    def create_module(self, spec):
        module = _StandIn(spec.name)
        if spec.name == "torch":
            module.distributed = types.SimpleNamespace(is_initialized=lambda: False, is_available=lambda: False,
                                                       get_rank=lambda: 0)
        if spec.name == "torch.utils.data":
            module.Dataset = type("Dataset", (), {})
        if spec.name.startswith("megatron.core.msc"):
            module.MultiStorageClientFeature = types.SimpleNamespace(is_enabled=lambda: False)
        if spec.name == "megatron.core.utils":
            module.log_single_rank = lambda *args, **kwargs: None
        return module

    def exec_module(self, module):
        pass


def load():
    """Returns the modules (gpt_dataset, indexed_dataset, blended_megatron_dataset_config, helpers, utils)."""
    megatron = importlib.util.find_spec("megatron")
    if megatron is None:
        raise SystemExit("expected the megatron-core wheel in this environment; see the top of this file")
    sys.meta_path.insert(0, _StandInFinder())
    core = types.ModuleType("megatron.core")
    core.__path__ = [str(pathlib.Path(folder) / "core") for folder in megatron.submodule_search_locations]
    sys.modules["megatron.core"] = core
    importlib.import_module("torch.utils.data")
    names = ("gpt_dataset", "indexed_dataset", "blended_megatron_dataset_config", "helpers", "utils")
    return tuple(importlib.import_module(f"megatron.core.datasets.{name}") for name in names)


class Tokenizer:
    """What GPTDataset asks of a tokenizer."""

    def __init__(self, eod):
        self.eod = eod
        self.vocab_size = 1 << 30
        self.pad = -1  # no token is taken for padding
        self.unique_identifiers = {"eod": eod}


def open_split(modules, prefix, split, part, samples, sequence_length, seed, cache):
    """The GPTDataset of one part (0 train, 1 valid, 2 test) of a split, as the wheel's builder makes it."""
    gpt, indexed, config_module, _, utils = modules
    import numpy

    config = gpt.GPTDatasetConfig(
        random_seed=seed, sequence_length=sequence_length, blend=([prefix], None), split=split, path_to_cache=cache,
        reset_position_ids=False, reset_attention_mask=False, eod_mask_loss=False, create_attention_mask=False,
        tokenizer=Tokenizer(0), mid_level_dataset_surplus=0.005)
    corpus = indexed.IndexedDataset(prefix, multimodal=False, mmap=True)
    count = corpus.sequence_lengths.shape[0]
    bounds = config.split_matrix[part]
    first, last = (int(round(bound * float(count))) for bound in bounds)
    indices = numpy.arange(start=first, stop=last, step=1, dtype=numpy.int32)
    return gpt.GPTDataset(corpus, prefix, indices, samples, utils.Split(part), config)
