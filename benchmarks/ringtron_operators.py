#!/usr/bin/env python3
"""Measures Ringtron's attention as an operator of PyTorch, as benchmarks/torch_context_parallel.py measures torch's own.

    ringrun --no-prefix --nproc-per-node 2 python3 benchmarks/torch_context_parallel.py --output torch.json
    ringrun --no-prefix --nproc-per-node 2 python3 benchmarks/ringtron_operators.py --torch torch.json --output operators.json
    ringrun --no-prefix --nproc-per-node 2 build/cuda/benchmarks/context_parallel --peer operators.json

The first table says what the operator is worth against torch's best mode of the same shape, the last command what
Ringtron's own program is against the operator. Same shapes, fresh data, warm-up, repeats and rounds; causal, forward and
backward; outputs and gradients are compared with one rank's first. Query, key and value lie in memory as a projection
over [positions, batch] makes them. Needs the module `ringtron` (docs/pytorch.md). --device cpu works, for a trial.
"""
import argparse
import json
import pathlib
import sys
import time

import torch
import torch.nn.functional as F

import ringtron
import torch_context_parallel as peer

TRANSPORTS = ("p2p", "all_gather", "a2a")


def parse_arguments():
    """Its own options; the others are those of torch_context_parallel.py."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", help="what torch_context_parallel.py wrote with --output")
    own, others = parser.parse_known_args()
    sys.argv[1:] = others
    return own, peer.parse_arguments()


def as_projected(x):
    """The same tensor, in memory [positions, batch, heads, size]."""
    return x.permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3)


def attend(transport, q, k, v):
    return ringtron.cp_attention(q, k, v, is_causal=True, cp_comm_type=transport)


def largest_error(setting, transport, heads):
    """|got - expected| / |expected|, the largest of out, dq, dk and dv."""
    length = (2048 if setting.device.type == "cuda" else 96) * setting.ranks
    whole = peer.whole_tensors(setting, heads, length)

    def out_and_gradients(attention, tensors):
        *inputs, d_out = tensors
        q, k, v = (x.detach().clone().requires_grad_() for x in inputs)
        out = attention(q, k, v)
        out.backward(d_out)
        return [out.detach(), q.grad, k.grad, v.grad]

    one = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads.query != heads.key_value)
    expected = out_and_gradients(one, whole)
    shards = [as_projected(ringtron.shard_sequence(x, dim=2)) for x in whole]
    if setting.options.inject:  # another layout's positions: they must be found to differ
        shards = [as_projected(ringtron.shard_sequence(x, dim=2, layout="contiguous")) for x in whole]
    got = out_and_gradients(lambda *x: attend(transport, *x), shards)
    errors = [((g.double() - e.double()).norm() / e.double().norm()).item()
              for g, e in zip((ringtron.unshard_sequence(x, dim=2) for x in got), expected)]
    return max(setting.of_slowest_rank(errors))


def time_steps(setting, transport, heads, tokens):
    """Seconds of each step on the slowest rank."""
    def fresh():
        *inputs, d_out = peer.random_tensors(heads, tokens, setting.device, setting.type)
        return [as_projected(x).requires_grad_() for x in inputs], as_projected(d_out)

    warmup, repeats = peer.steps_of(setting, heads, tokens)
    clock = peer.Clock(setting)
    for step in range(warmup + repeats):
        inputs, d_out = fresh()
        if step == warmup or not clock.gpu:
            torch.distributed.barrier()
            setting.synchronize()
        if step >= warmup:
            clock.mark()
        attend(transport, *inputs).backward(d_out)
        if step >= warmup:
            clock.mark()
    return setting.of_slowest_rank(clock.seconds())


def best_of_torch(path):
    """TFLOP/s of torch's best mode, by key/value heads and tokens."""
    best = {}
    for rate in json.loads(pathlib.Path(path).read_text())["rates"] if path else []:
        shape = rate["query_heads"], rate["key_value_heads"], rate["head_size"], rate["tokens_per_rank"]
        best[shape] = max(best.get(shape, 0), rate["tflops_per_rank"])
    return best


def measure(setting, all_heads, torch_rates):
    o, rates = setting.options, []
    setting.say("\n### Rate of Ringtron's attention from PyTorch\n\n"
                "| heads | tokens per rank | cp_comm_type | TFLOP/s per rank | ms | spread | ÷ torch's best |\n"
                "|---|---|---|---|---|---|---|")
    for heads in all_heads:
        for tokens in o.tokens:
            seconds = {transport: [] for transport in TRANSPORTS}
            for _ in range(peer.ROUNDS):
                for transport in TRANSPORTS:
                    seconds[transport] += time_steps(setting, transport, heads, tokens)
            for transport in TRANSPORTS:
                rate = peer.rate_of(heads, tokens, setting.ranks, seconds[transport])
                shape = heads.query, heads.key_value, heads.size, tokens
                ratio = f"{rate['tflops_per_rank'] / torch_rates[shape]:.3f}" if shape in torch_rates else "-"
                setting.say(f"| {heads} | {tokens} | {transport} | {rate['tflops_per_rank']:.3g} | "
                            f"{1e3 * rate['median_seconds']:.2f} | {100 * rate['spread']:.1f}% | {ratio} |")
                rates.append({"query_heads": heads.query, "key_value_heads": heads.key_value, "head_size": heads.size,
                              "tokens_per_rank": tokens, "mode": f"operator {transport}", **rate})
    return rates


def main():
    own, options = parse_arguments()
    torch_rates = best_of_torch(own.torch)
    setting = peer.make_setting(options)
    o = setting.options
    peer.print_heading(setting, "torch.ops.ringtron.cp_attention")
    all_heads = [peer.Heads(o.heads, o.heads, o.head_size), peer.Heads(o.heads, o.heads // 8, o.head_size)]
    for heads in all_heads:
        for transport in TRANSPORTS:
            error = largest_error(setting, transport, heads)
            setting.say(f"- {heads}, {transport}: differs from one rank by {error:.1e}")
            if not error <= peer.TOLERANCE[setting.type]:
                return 1
    rates = measure(setting, all_heads, torch_rates)
    if o.output and setting.rank == 0:
        record = {"program": f"ringtron's operators in torch {torch.__version__}", "device": peer.device_name(setting.device),
                  "ranks": setting.ranks, "type": peer.TYPE_NAMES[setting.type], "warmup": o.warmup, "repeats": o.repeats,
                  "rounds": peer.ROUNDS, "unix_time": int(time.time()), "rates": rates, "unusable": []}
        pathlib.Path(o.output).write_text(json.dumps(record, indent=2) + "\n")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
