"""Writes made-up tokens as a corpus: docs/formats/indexed_dataset.md."""
import array
import itertools
import random
import struct
import sys

UINT16 = 8


def write_corpus(prefix, samples, length, vocab, even):
    """PREFIX.bin and .idx with `samples` documents of `length` tokens, the same for the same arguments. Even: every token is as
    likely as any other, so that nothing can be learned. Otherwise as in text some are common, which a few steps can learn."""
    source = random.Random(f"{samples} {length} {vocab} {even}")
    weights = [1.0] * vocab if even else [1.0 / (rank + 10) for rank in range(vocab)]
    tokens = array.array("H", source.choices(range(vocab), cum_weights=list(itertools.accumulate(weights)), k=samples * length))
    if sys.byteorder == "big":
        tokens.byteswap()
    with open(f"{prefix}.bin", "wb") as file:
        tokens.tofile(file)
    with open(f"{prefix}.idx", "wb") as file:
        file.write(b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, UINT16, samples, samples + 1))
        file.write(struct.pack(f"<{samples}i", *[length] * samples))
        file.write(struct.pack(f"<{samples}q", *range(0, samples * length * 2, length * 2)))
        file.write(struct.pack(f"<{samples + 1}q", *range(samples + 1)))
