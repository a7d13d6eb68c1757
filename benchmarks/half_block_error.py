#!/usr/bin/env python3
"""Error of attention gradients in fp16 and in bf16 blocks, by the length of the sequence; needs NumPy and no GPU.

    python3 benchmarks/half_block_error.py [--lengths 8192,65536,131072,262144] [--query-heads 1]

Rounds what the fused kernels round (probabilities, their gradients dS, results; the gradient of the output is scaled
as plan_runner.cpp scales it) and keeps all else in fp64: dk and dv of 96 keys from 4096 queries, dq of 48 queries over
all keys. Queries, keys and values are normal; so is the gradient of the output, or, heavy-tailed, it is multiplied by
exp(2 x) with a normal x for each row. Prints norm of the difference / norm, before the last rounding to bf16.
"""
import argparse

import numpy as np

HEAD_SIZE, ROWS, KEYS, QUERIES, CHUNK = 128, 4096, 96, 48, 16384
ROOT = np.sqrt(HEAD_SIZE)


def to_bf16(x):
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + ((bits >> 16) & 1) + 0x7FFF) & 0xFFFF0000).view(np.float32).astype(np.float64)


def to_fp16(x):
    return np.asarray(x, np.float64).astype(np.float16).astype(np.float64)


def relative(got, truth):
    return np.linalg.norm(got - truth) / np.linalg.norm(truth)


def normal(random, *shape):
    return to_bf16(random.standard_normal(shape))


def output_gradient(random, rows, heavy):
    tail = np.exp(2 * random.standard_normal((rows, 1))) if heavy else 1.0
    return to_bf16(random.standard_normal((rows, HEAD_SIZE)) * tail)


def scale_to_half(x, length, query_heads):
    """As most_in_half() of two ranks: the power of two that brings the largest magnitude to what dV can bear."""
    most = min(16.0, max(4.0, 65504 / 0.25 / (length / 2 * query_heads)))
    return 2.0 ** np.floor(np.log2(most / np.abs(x).max()))


def errors_of_keys(random, length, heavy, rounded, scale_of):
    q, k, v = normal(random, ROWS, HEAD_SIZE), normal(random, KEYS, HEAD_SIZE), normal(random, KEYS, HEAD_SIZE)
    out = to_bf16(random.standard_normal((ROWS, HEAD_SIZE)) * np.exp(0.5) / np.sqrt(length))
    d_out = output_gradient(random, ROWS, heavy)
    scores = q @ k.T / ROOT
    p = np.exp(scores - np.log(length) - 0.5 * np.mean(scores.std(axis=1) ** 2))
    d_s = p * (d_out @ v.T - (d_out * out).sum(1, keepdims=True))
    scale = scale_of(d_out, length)
    x = rounded(d_out * scale)
    half_d_s = rounded(p * (x @ v.T - (x * rounded(out)).sum(1, keepdims=True)))
    dk, dv = rounded(half_d_s.T @ q / ROOT) / scale, rounded(rounded(p).T @ x) / scale
    return relative(dk, d_s.T @ q / ROOT), relative(dv, p.T @ d_out)


def error_of_queries(random, length, heavy, rounded, scale_of):
    q, d_out = normal(random, QUERIES, HEAD_SIZE), output_gradient(random, QUERIES, heavy)
    scale = scale_of(d_out, length)
    x = rounded(d_out * scale)
    truth, got = 0.0, 0.0
    for begin in range(0, length, CHUNK):
        rows = min(CHUNK, length - begin)
        k, v = normal(random, rows, HEAD_SIZE), normal(random, rows, HEAD_SIZE)
        p = np.exp(q @ k.T / ROOT - np.log(length) - 0.5)
        truth = truth + (p * (d_out @ v.T)) @ k
        got = got + rounded(p * (x @ v.T)) @ k
    return relative(rounded(got) / scale, truth)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default="8192,65536,131072,262144,1048576")
    parser.add_argument("--query-heads", type=int, default=1, help="for each key/value head, which bounds the scale of fp16")
    options = parser.parse_args()
    lengths = [int(word) for word in options.lengths.split(",")]
    kinds = (("bf16", to_bf16, lambda x, length: 1.0),
             ("fp16", to_fp16, lambda x, length: scale_to_half(x, length, options.query_heads)))
    print("| gradients | sequence | dq bf16 | dq fp16 | dk bf16 | dk fp16 | dv bf16 | dv fp16 |\n|" + "---|" * 8)
    for heavy in (False, True):
        for length in lengths:
            cells = {}
            for name, rounded, scale_of in kinds:
                cells["dk", name], cells["dv", name] = errors_of_keys(
                    np.random.default_rng(1), length, heavy, rounded, scale_of)
                cells["dq", name] = error_of_queries(np.random.default_rng(2), length, heavy, rounded, scale_of)
            row = " | ".join(f"{1e3 * cells[x, name]:.2f}e-3" for x in ("dq", "dk", "dv") for name in ("bf16", "fp16"))
            print(f"| {'heavy-tailed' if heavy else 'normal'} | {length} | {row} |", flush=True)


if __name__ == "__main__":
    main()
