"""torch's Python on a machine where only LibTorch was wanted.

scripts/setup leaves out CUDA's math libraries (2.5 GB) where there is no GPU. The programs do without them, but torch's
Python module is linked with all of them. Empty libraries of the same names stand in: nothing calls them without a GPU.
"""
import ctypes
import importlib.util
import os
import pathlib
import subprocess
import sys
import warnings

LIBRARIES = ("libcublas.so.13", "libcublasLt.so.13", "libcudnn.so.9", "libcufft.so.12", "libcufile.so.0", "libcurand.so.10",
             "libcusparse.so.12", "libcusparseLt.so.0", "libnccl.so.2", "libnvshmem_host.so.3")
MODULES = ("filelock", "fsspec", "jinja2", "networkx", "sympy", "typing_extensions")  # that torch's Python wants


def missing():
    """Why torch cannot be imported here; None: it can."""
    wanted = [name for name in ("torch", *MODULES) if importlib.util.find_spec(name) is None]
    return f"Python has no {', '.join(wanted)}" if wanted else None


def stand_in(folder):
    """Makes the libraries that are missing, in `folder`; before import_torch()."""
    site = pathlib.Path(importlib.util.find_spec("torch").origin).parent.parent
    for name in LIBRARIES:
        try:
            if not any(site.glob(f"nvidia/*/lib/{name}")):
                ctypes.CDLL(name)
        except OSError:
            subprocess.run(["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-x", "c", "/dev/null", "-o",
                            pathlib.Path(folder) / name], check=True)


def import_torch(folder):
    """torch, with the libraries in `folder` in the places of those that are missing."""
    for library in sorted(pathlib.Path(folder).glob("lib*.so.*")):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")  # which nothing here wants
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_LAZY)  # what they lack is looked for when it is called
    import torch
    sys.setdlopenflags(flags)
    return torch
