#!/usr/bin/env python3
"""Opens every shard of a checkpoint with the `safetensors` wheel and compares it with the manifest.

usage: check_safetensors.py SAVE/iter_0002000      (needs: pip install safetensors numpy)
Types that NumPy does not know (BF16) are compared by shape and size only.
"""
import json
import pathlib
import sys

from safetensors import safe_open


def main() -> int:
    folder = pathlib.Path(sys.argv[1])
    manifest = json.loads((folder / "manifest.json").read_text())
    opened = {name: safe_open(folder / name, framework="numpy") for name in manifest["files"]}
    left = {name: set(shard.keys()) for name, shard in opened.items()}
    read = 0
    for name, entry in manifest["tensors"].items():
        for piece in entry["pieces"]:
            view = opened[piece["file"]].get_slice(piece["tensor"])
            shape = list(entry["shape"])
            if shape:
                shape[entry["dim"]] = piece["length"]
            if list(view.get_shape()) != shape or view.get_dtype() != entry["dtype"]:
                sys.exit(f"{name} in {piece['file']}: expected {entry['dtype']} {shape}, "
                         f"got {view.get_dtype()} {view.get_shape()}")
            if entry["dtype"] != "BF16":
                assert list(opened[piece["file"]].get_tensor(piece["tensor"]).shape) == shape
            left[piece["file"]].discard(piece["tensor"])
            read += 1
    strangers = {name: sorted(keys) for name, keys in left.items() if keys}
    if strangers:
        sys.exit(f"tensors that the manifest does not list: {strangers}")
    print(f"{len(opened)} files, {read} tensors: as the manifest says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
