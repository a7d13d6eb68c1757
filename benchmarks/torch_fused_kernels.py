#!/usr/bin/env python3
"""What torch.compile makes of the formulas that benchmarks/fused_kernels.cpp times: ms, GB/s of the bytes that must be moved,
and these over a copy's. Run both in one call on one GPU.

    benchmarks/torch_fused_kernels.py [--rows 8192] [--hidden 4096] [--ffn 13696] [--heads 32] [--vocab 50304] [--repeats 20]
"""
import argparse
import statistics

import torch
import torch.nn.functional as F


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("rows", 8192), ("hidden", 4096), ("ffn", 13696), ("heads", 32), ("vocab", 50304), ("repeats", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()


def rms_norm(x, weight):
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5) * weight.float()).to(x.dtype)


def residual_rms_norm(x, branch, weight):
    total = x + branch
    return total, rms_norm(total, weight)


def swiglu(x):
    gate, up = x.chunk(2, -1)
    return F.silu(gate) * up


def rotated(x, cos, sin):
    half = x.shape[-1] // 2
    wide = x.float()
    return torch.cat((wide[..., :half] * cos - wide[..., half:] * sin, wide[..., half:] * cos + wide[..., :half] * sin), -1).to(x.dtype)


def split_qkv(qkv, cos, sin):
    q, k, v = qkv.unbind(2)
    return rotated(q, cos, sin), rotated(k, cos, sin), v.contiguous()


def main():
    o = arguments()
    torch.manual_seed(1)

    def random(*sizes):
        return torch.randn(sizes, device="cuda", dtype=torch.bfloat16)

    def median(work, before=lambda: None):
        times = []
        for i in range(-3, o.repeats):
            before()
            for _ in range(4):  # the host runs ahead of these copies
                target.copy_(source)
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            work()
            end.record()
            end.synchronize()
            if i >= 0:
                times.append(begin.elapsed_time(end) * 1e-3)
        return statistics.median(times)

    source = random(1 << 29)
    target = torch.empty_like(source)
    copy = 4.0 * source.numel() / median(lambda: target.copy_(source))
    print(f"Copy of 1 GiB: {copy * 1e-9:.0f} GB/s\n\n| torch.compile | ms | GB/s | / copy |\n|---|---|---|---|")

    def row(name, elements, seconds):
        rate = 2.0 * elements / seconds
        print(f"| {name} | {seconds * 1e3:.3f} | {rate * 1e-9:.0f} | {rate / copy:.2f} |", flush=True)

    def pair(name, function, inputs, gradients, forward, backward):
        function = torch.compile(function)
        held = {}

        def run():
            out = function(*inputs)
            held["out"] = out if isinstance(out, tuple) else (out,)

        def back():
            torch.autograd.grad(held["out"], [x for x in inputs if x.requires_grad], gradients)

        run()
        row(name + ", forward with its graph", forward, median(run))
        row(name + ", backward", backward, median(back, run))

    x, branch = random(o.rows, 1, o.hidden).requires_grad_(), random(o.rows, 1, o.hidden).requires_grad_()
    weight = torch.ones(o.hidden, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    dy = torch.randn_like(x)
    pair("RMSNorm", rms_norm, (x, weight), (dy,), 2 * x.numel(), 3 * x.numel())
    pair("residual sum and RMSNorm", residual_rms_norm, (x, branch, weight), (dy, dy.clone()), 4 * x.numel(), 4 * x.numel())
    up, d_up = random(o.rows, 1, 2 * o.ffn).requires_grad_(), random(o.rows, 1, o.ffn)
    pair("SwiGLU", swiglu, (up,), (d_up,), up.numel() + d_up.numel(), 2 * up.numel() + d_up.numel())
    size = o.hidden // o.heads
    qkv = random(o.rows, 1, 3, o.heads, size).requires_grad_()
    angles = torch.arange(o.rows, device="cuda").float()[:, None, None, None] * (
        10000.0 ** (-torch.arange(0, size, 2, device="cuda").float() / size))
    d_heads = random(o.rows, 1, o.heads, size)
    pair("split of qkv with rotary", split_qkv, (qkv, angles.cos(), angles.sin()), (d_heads, d_heads.clone(), d_heads.clone()),
         2 * qkv.numel(), 2 * qkv.numel())

    weights = [torch.nn.Parameter(torch.randn(500_000_000, device="cuda"))]
    weights[0].grad = torch.rand_like(weights[0])
    adam = torch.optim.AdamW(weights, lr=1e-4, fused=True)
    adam.step()
    row("fused AdamW of fp32 weights, without bf16 ones", 14 * weights[0].numel(), median(adam.step))
    row("norm of gradients", 2 * weights[0].numel(), median(lambda: torch.nn.utils.get_total_norm([weights[0].grad])))


if __name__ == "__main__":
    main()
