"""Reads the tensors of a checkpoint (docs/formats/checkpoint.md) and says where a GPT written apart from ours keeps them."""
import json
import mmap
import pathlib
import re
import struct

FORMAT, VERSION = "ringtron-checkpoint", 1
WEIGHTS, MAIN = "model.", "optimizer.main."
LAYER_NAMES = {  # of one layer -> the peer's
    "self_attention.linear_qkv.layer_norm_weight": "attention_norm",
    "self_attention.linear_qkv.weight": "qkv",
    "self_attention.linear_proj.weight": "projection",
    "mlp.linear_fc1.layer_norm_weight": "mlp_norm",
    "mlp.linear_fc1.weight": "gate_up",
    "mlp.linear_fc2.weight": "down",
}
OUTER_NAMES = {"embedding.word_embeddings.weight": "embedding", "decoder.final_layernorm.weight": "final_norm",
               "output_layer.weight": "output"}


class Shard:
    """One safetensors file, mapped: pages that nobody reads cost nothing."""

    def __init__(self, path):
        with open(path, "rb") as file:
            # A private copy on write: torch wants bytes that could be written.
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        length = struct.unpack("<Q", self.bytes[:8])[0]
        self.header = json.loads(self.bytes[8:8 + length])
        self.data = 8 + length

    def tensor(self, name):
        """Type, shape and bytes."""
        entry = self.header[name]
        begin, end = entry["data_offsets"]
        return entry["dtype"], entry["shape"], memoryview(self.bytes)[self.data + begin:self.data + end]


class Checkpoint:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.manifest = json.loads((folder / "manifest.json").read_text())
        if (self.manifest["format"], self.manifest["version"]) != (FORMAT, VERSION):
            raise ValueError(f"{folder}: expected {FORMAT} {VERSION}, got {self.manifest['format']} {self.manifest['version']}")
        self.shards = {name: Shard(folder / name) for name in self.manifest["files"]}

    def weights(self):
        """Names of the model's weights as the trained program knows them, and of what is stored of each: the main weight
        where there is one, for it is what a weight of fewer bits was rounded from."""
        names = self.manifest["tensors"]
        plain = [name.removeprefix(WEIGHTS) for name in names if name.startswith(WEIGHTS)]
        return {name: MAIN + name if MAIN + name in names else WEIGHTS + name for name in plain}

    def shape(self, stored):
        return tuple(self.manifest["tensors"][stored]["shape"])

    def pieces(self, stored):
        """(dim, first row, type, shape, bytes) of each piece of a stored tensor; together they cover it."""
        entry = self.manifest["tensors"][stored]
        for piece in entry["pieces"]:
            kind, shape, data = self.shards[piece["file"]].tensor(piece["tensor"])
            yield entry["dim"], piece["offset"], kind, tuple(shape), data


def peer_name(name):
    """Of a weight of ours, "decoder.layers.3.mlp.linear_fc2.weight": "layers.3.down.weight". KeyError if the peer has none."""
    found = re.fullmatch(r"decoder\.layers\.(\d+)\.(.+)", name)
    return (f"layers.{found[1]}.{LAYER_NAMES[found[2]]}" if found else OUTER_NAMES[name]) + ".weight"


def qkv_rows(shape, swapped=None):
    """Row ranges of our qkv weight in the peer's order: all of q, all of k, all of v. Ours go by group: its queries, its key,
    its value. `swapped`: two query heads whose weights change places, a fault on purpose."""
    size, per_group = shape.head_size, shape.heads // shape.groups
    slot = per_group + 2  # heads that one group takes
    heads = list(range(shape.heads))
    if swapped:
        heads[swapped[0]], heads[swapped[1]] = heads[swapped[1]], heads[swapped[0]]
    starts = [h // per_group * slot + h % per_group for h in heads]
    starts += [g * slot + per_group for g in range(shape.groups)] + [g * slot + per_group + 1 for g in range(shape.groups)]
    return [(start * size, (start + 1) * size) for start in starts]
