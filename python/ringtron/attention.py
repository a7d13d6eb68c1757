"""Context-parallel attention."""
import torch

from ringtron._group import group_name_of


def cp_attention(query, key, value, group=None, *, is_causal=False, scale=None, window_size=(-1, -1), cp_comm_type="p2p",
                 layout="zigzag", seq_length=None, hierarchical_context_parallel_sizes=None):
    """torch.nn.functional.scaled_dot_product_attention of the whole sequence, of which every rank has some positions.

    All ranks of the group call it, and its backward, in the same order and with the same options.

    Args:
        query: [batch, heads, positions, size]: this rank's positions, ascending; shard_sequence() cuts them. float64,
            float32 or bfloat16; sums are float32 (float64 for float64).
        key: [batch, key heads, positions, size]; the heads of query are a multiple of these (grouped-query attention).
        value: [batch, key heads, positions, value size].
        group: a torch.distributed ProcessGroup, its name, a DeviceMesh of one dimension, or None for all ranks. A back
            end for the tensors' device: gloo for CPUs, nccl for GPUs.
        is_causal: position i of the whole sequence sees positions 0..i.
        scale: of the scores; None: 1 / sqrt(size).
        window_size: (left, right), how many positions before and behind itself a position sees; -1: no limit. With
            is_causal the right one is 0, whatever it says.
        cp_comm_type: how keys and values reach the other ranks, in Megatron-LM's words: "p2p" (a ring), "all_gather",
            "a2a" (heads for positions, Ulysses) or "a2a+p2p". Nothing has to divide, heads by ranks neither.
        layout: which positions a rank has: "zigzag" (two chunks, an early and a late one: equal work under a causal mask;
            as TransformerEngine and torch's context_parallel do it) or "contiguous".
        seq_length: of the whole sequence; None: positions times ranks. To be said where the ranks do not divide it.
        hierarchical_context_parallel_sizes: (A, P) for "a2a+p2p": A neighbouring ranks share heads, P such groups a ring.

    Returns:
        [batch, heads, positions, value size], this rank's positions. In memory it is [positions, batch, heads, size];
        query, key and value that lie so too are not copied.

    Raises:
        ValueError, TypeError: before anything is sent, for tensors, sizes or words that do not fit.
        torch.distributed.DistBackendError: a rank died, does not come, or makes a call that is new to all with other options.
    """
    return torch.ops.ringtron.cp_attention(
        query, key, value, group_name_of(group), is_causal=is_causal, scale=scale, window_size=window_size,
        cp_comm_type=cp_comm_type, layout=layout, seq_length=seq_length,
        hierarchical_context_parallel_sizes=hierarchical_context_parallel_sizes)


def cp_attention_varlen(query, key, value, cu_seqlens, group=None, *, is_causal=False, scale=None, window_size=(-1, -1),
                        cp_comm_type="p2p", layout="zigzag", seq_length=None, hierarchical_context_parallel_sizes=None):
    """cp_attention() of a packed sequence: many documents one behind the other, none of which sees another.

    Args:
        query: [positions, heads, size]: this rank's positions of the pack. The layout divides the pack, not each document.
        key: [positions, key heads, size].
        value: [positions, key heads, value size].
        cu_seqlens: int32 or int64 [documents + 1], the same on all ranks: where documents begin in the whole pack, and its
            length: 0, l1, l1 + l2, ... On a CPU, whatever the others are on: from a GPU the host has to wait for it.

    The others, what it returns and what it raises: as cp_attention(); [positions, heads, value size].
    """
    return torch.ops.ringtron.cp_attention_varlen(
        query, key, value, cu_seqlens, group_name_of(group), is_causal=is_causal, scale=scale, window_size=window_size,
        cp_comm_type=cp_comm_type, layout=layout, seq_length=seq_length,
        hierarchical_context_parallel_sizes=hierarchical_context_parallel_sizes)
