"""Fused kernels that make sense alone: one kernel each way on a GPU, in bfloat16, float16 and float32."""
import torch


def swiglu(x):
    """silu(gate) * up of x [..., 2 f], whose first f channels are the gates: [..., f]. Only x is kept for the backward."""
    return torch.ops.ringtron.swiglu(x)


def cross_entropy(logits, targets, *, ignore_index=-100, reduction="mean"):
    """torch.nn.functional.cross_entropy without a copy of all logits in a wider type.

    Args:
        logits: [..., vocabulary]; unlike torch's, the vocabulary is the last dimension whatever their number.
        targets: int64 [...].
        ignore_index: targets that take no part.
        reduction: "mean" over the targets that take part, "sum" or "none".

    Returns:
        float32 (float64 for float64): a number, or [...] with "none".
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'ringtron: expected reduction "mean", "sum" or "none", got {reduction!r}')
    losses = torch.ops.ringtron.cross_entropy(logits, targets, ignore_index)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / (targets != ignore_index).sum()
