#!/usr/bin/env python3
"""Times mamba_ssm's Triton scan on the shapes of benchmarks/mamba_kernels.cpp, in the same columns. Run both in one call on
one GPU.

    benchmarks/torch_mamba_kernels.py [--heads 128] [--groups 8] [--head-dim 64] [--state-dim 128] [--chunk 128,256]
                                      [--tokens 8192,16384,32768,65536] [--repeats 20]

Needs torch, triton and einops, and the folder mamba_ssm/ops/triton of the package's sources: give the folder that holds
mamba_ssm by --sources. Its extensions need not be built.
"""
import argparse
import statistics
import sys
import types

import torch


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("heads", 128), ("groups", 8), ("head-dim", 64), ("state-dim", 128), ("repeats", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--tokens", default="8192,16384,32768,65536")
    parser.add_argument("--chunk", default="128,256")
    parser.add_argument("--sources")
    return parser.parse_args()


def peer_scan(sources):
    """mamba_chunk_scan_combined, without the package's own __init__, which loads extensions."""
    if sources:
        for name in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.triton", "mamba_ssm.utils"):
            module = types.ModuleType(name)
            module.__path__ = [f"{sources}/{name.replace('.', '/')}"]
            sys.modules[name] = module
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined

    return mamba_chunk_scan_combined


def times_of(work, before, repeats):
    source = torch.zeros(1 << 28, device="cuda", dtype=torch.bfloat16)
    target, times = torch.empty_like(source), []
    for i in range(-3, repeats):
        before()
        for _ in range(4):  # the host runs ahead of these copies
            target.copy_(source)
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        if i >= 0:
            times.append(begin.elapsed_time(end))
    return min(times), statistics.median(times), max(times)


def main():
    o = arguments()
    scan = peer_scan(o.sources)
    print("| tokens | kernel | ms: min | median | max | TFLOP/s |\n|---|---|---|---|---|---|")
    for tokens in map(int, o.tokens.split(",")):

        def random(*sizes):
            return torch.randn(sizes, device="cuda", dtype=torch.bfloat16)

        x, dt = random(1, tokens, o.heads, o.head_dim), random(1, tokens, o.heads) - 4
        b, c = random(1, tokens, o.groups, o.state_dim), random(1, tokens, o.groups, o.state_dim)
        a, d, bias = -torch.rand(o.heads, device="cuda") * 15 - 1, torch.ones(o.heads, device="cuda"), torch.zeros(o.heads, device="cuda")
        leaves = [t.requires_grad_() for t in (x, dt, a, b, c, d, bias)]
        dy = random(1, tokens, o.heads, o.head_dim)
        forward_operations = tokens * 2 * (o.head_dim * (128 + 2 * o.state_dim) * o.heads + 128 * o.state_dim * o.groups)
        for chunk in map(int, o.chunk.split(",")):

            def forward():
                return scan(x, dt, a, b, c, chunk, D=d, dt_bias=bias, dt_softplus=True)

            def without_graph():
                with torch.no_grad():
                    forward()

            kept = []

            def keep():
                kept[:] = [forward()]

            works = (
                ("forward", without_graph, lambda: None, 1),
                ("backward", lambda: torch.autograd.grad(kept, leaves, [dy]), keep, 2),
                ("both", lambda: torch.autograd.grad(forward(), leaves, dy), lambda: None, 3),
            )
            for name, work, before, count in works:
                least, median, most = times_of(work, before, o.repeats)
                rate = count * forward_operations / median * 1e-9
                print(f"| {tokens} | scan of mamba_ssm, chunks of {chunk}, {name} | {least:.3f} | {median:.3f} | {most:.3f} | {rate:.0f} |")


if __name__ == "__main__":
    main()
