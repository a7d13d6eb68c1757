"""Loads libringtron_ops.so into the torch it was built with."""
import pathlib

import torch


def built_with():
    """The version of torch that the library was built with."""
    return (pathlib.Path(__file__).parent / "torch_version").read_text().strip()


def load():
    """Raises ImportError, naming both versions, under another torch: its C++ interface is another one."""
    wanted, found = built_with(), torch.__version__.partition("+")[0]
    if wanted != found:
        raise ImportError(f"ringtron: this package was built with torch {wanted}, but torch {found} is imported. "
                          f"Install torch=={wanted}, or build the package with the other one (scripts/build_wheel).")
    torch.ops.load_library(pathlib.Path(__file__).parent / "libringtron_ops.so")
