"""Which positions of a sequence a rank has, and tensors cut and joined by them."""
import torch
import torch.distributed as dist

from ringtron._group import group_of


def _ranges(seq_length, rank, ranks, layout):
    flat = torch.ops.ringtron.sequence_ranges(seq_length, rank, ranks, layout)
    return list(zip(flat[::2], flat[1::2]))


def sequence_positions(seq_length, group=None, *, layout="zigzag", device=None):
    """int64 [positions]: the positions of this rank, ascending; for rotary and learned position embeddings."""
    group = group_of(group)
    ranges = _ranges(seq_length, group.rank(), group.size(), layout)
    return torch.cat([torch.arange(begin, end, device=device) for begin, end in ranges or [(0, 0)]])


def shard_sequence(x, group=None, *, dim, layout="zigzag"):
    """This rank's positions of a tensor that every rank has whole; dimension `dim` counts positions. Differentiable: the
    gradient of x is that of this rank's positions, 0 elsewhere. Sends nothing."""
    group = group_of(group)
    ranges = _ranges(x.shape[dim], group.rank(), group.size(), layout)
    return torch.cat([x.narrow(dim, begin, end - begin) for begin, end in ranges or [(0, 0)]], dim)


def unshard_sequence(x, group=None, *, dim, layout="zigzag", seq_length=None):
    """The inverse: the whole tensor, on every rank, of each rank's positions. All ranks call it. Not differentiable.
    `seq_length`: of the whole; None: positions times ranks."""
    group = group_of(group)
    ranks = group.size()
    length = x.shape[dim] * ranks if seq_length is None else seq_length
    divided = [_ranges(length, rank, ranks, layout) for rank in range(ranks)]
    counts = [sum(end - begin for begin, end in ranges) for ranges in divided]
    if x.shape[dim] != counts[group.rank()]:
        raise ValueError(f"ringtron: expected {counts[group.rank()]} positions on rank {group.rank()} of {ranks} (layout "
                         f"{layout} of {length} positions in all), got {x.shape[dim]}")
    rows = x.detach().movedim(dim, 0)
    # Equal sizes, so that one gather does.
    mine = rows.new_zeros((max(counts), *rows.shape[1:]))
    mine[:rows.shape[0]] = rows
    parts = [torch.empty_like(mine) for _ in range(ranks)]
    dist.all_gather(parts, mine, group=group)
    whole = rows.new_empty((length, *rows.shape[1:]))
    for part, ranges in zip(parts, divided):
        row = 0
        for begin, end in ranges:
            whole[begin:end] = part[row:row + end - begin]
            row += end - begin
    return whole.movedim(0, dim)
