"""Ringtron's operators for PyTorch: attention over a sequence that the ranks of a process group share.

    import torch.distributed as dist
    import ringtron

    dist.init_process_group()
    q, k, v = (ringtron.shard_sequence(x, dim=2) for x in (q, k, v))    # [batch, heads, positions, size]
    out = ringtron.cp_attention(q, k, v, is_causal=True)

The same operators are torch.ops.ringtron.*; they differentiate, and torch.compile traces through them.
"""
from ringtron import _load

_load.load()

from ringtron.attention import cp_attention, cp_attention_varlen  # noqa: E402
from ringtron.kernels import cross_entropy, swiglu  # noqa: E402
from ringtron.sequence import sequence_positions, shard_sequence, unshard_sequence  # noqa: E402

__all__ = ["cp_attention", "cp_attention_varlen", "cross_entropy", "sequence_positions", "shard_sequence", "swiglu",
           "unshard_sequence"]
