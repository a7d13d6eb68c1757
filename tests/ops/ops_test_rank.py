"""What ops_test.py runs on every rank."""
import os
import sys
import time

import torch_python

torch = torch_python.import_torch(os.environ["RINGTRON_TEST_LIBRARIES"])

import torch.distributed as dist
import torch.nn.functional as F

import ringtron

RANK, RANKS = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
CLOSE = 1e-10  # fp64; sums are made in another order
B, H, G, D, DV = 2, 4, 2, 8, 6


def numbers(*shape, frequency):
    """The same on every rank."""
    count = torch.Size(shape).numel()
    return torch.sin(torch.arange(count, dtype=torch.float64) * frequency).reshape(shape)


def inputs(length, dims=(B, H, G)):
    batch, heads, groups = dims
    return (numbers(batch, heads, length, D, frequency=0.37), numbers(batch, groups, length, D, frequency=0.71),
            numbers(batch, groups, length, DV, frequency=1.13))


def visible(length, causal, window, ends):
    """bool [query, key]."""
    i, j = torch.arange(length)[:, None], torch.arange(length)[None, :]
    seen = torch.ones(length, length, dtype=torch.bool)
    if causal:
        seen &= j <= i
    if window[0] >= 0:
        seen &= j >= i - window[0]
    if window[1] >= 0 and not causal:
        seen &= j <= i + window[1]
    if ends is not None:
        document = torch.bucketize(torch.arange(length), torch.tensor(ends[1:]), right=True)
        seen &= document[:, None] == document[None, :]
    return seen


def leaves(tensors):
    return [x.detach().clone().requires_grad_() for x in tensors]


def reference(whole, d_out, mask):
    """Output and gradients of torch's own attention, of the whole sequence."""
    q, k, v = leaves(whole)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    out.backward(d_out)
    return [out.detach(), q.grad, k.grad, v.grad]


def ours(attend, whole, d_out, layout, group):
    """Output and gradients of this rank's positions."""
    shard = lambda x: ringtron.shard_sequence(x, group, dim=2, layout=layout)
    mine = leaves([shard(x) for x in whole])
    out = attend(*mine)
    out.backward(shard(d_out))
    return [out.detach()] + [x.grad for x in mine]


def worst(found, whole, layout, group):
    expected = [ringtron.shard_sequence(x, group, dim=2, layout=layout) for x in whole]
    return max((a - b).abs().max().item() if b.numel() else 0.0 for a, b in zip(found, expected))


def options_of_transports(ranks):
    yield {"cp_comm_type": "p2p"}
    yield {"cp_comm_type": "all_gather"}
    yield {"cp_comm_type": "a2a"}
    if ranks % 2 == 0:
        yield {"cp_comm_type": "a2a+p2p", "hierarchical_context_parallel_sizes": (2, ranks // 2)}


def attend_with(group, length, ends, options):
    if ends is None:
        return lambda q, k, v: ringtron.cp_attention(q, k, v, group, seq_length=length, **options)
    cu_seqlens = torch.tensor(ends, dtype=torch.int32)

    def packed(q, k, v):
        rows = [x.squeeze(0).transpose(0, 1) for x in (q, k, v)]
        return ringtron.cp_attention_varlen(*rows, cu_seqlens, group, seq_length=length, **options).transpose(0, 1)[None]

    return packed


MASKS = [dict(is_causal=True), dict(is_causal=False), dict(is_causal=True, window_size=(5, 0)),
         dict(is_causal=False, window_size=(3, 7))]
DOCUMENTS = [[0, 37], [0, 5, 5, 6, 30, 37], [0, 18, 37]]


def check_parity(group=None):
    """Every transport, layout and mask, with and without documents; no length or number of heads divides."""
    ranks, count, length = ringtron._group.group_of(group).size(), 0, 37
    for ends in [None, *DOCUMENTS]:
        whole = inputs(length, (B, H, G) if ends is None else (1, 6, 3))
        d_out = numbers(*whole[0].shape[:3], DV, frequency=0.53)
        for mask in MASKS if ends is None else MASKS[:3]:
            expected = reference(whole, d_out, visible(length, mask["is_causal"], mask.get("window_size", (-1, -1)), ends))
            for layout in ("zigzag", "contiguous"):
                for transport in options_of_transports(ranks):
                    attend = attend_with(group, length, ends, {"layout": layout, **mask, **transport})
                    difference = worst(ours(attend, whole, d_out, layout, group), expected, layout, group)
                    assert difference < CLOSE, f"{ends} {mask} {layout} {transport}: {difference}"
                    count += 1
    return f"{count} cases"


def check_negative_control():
    """Positions of another layout are taken for those of zigzag: the comparison above must see it."""
    whole = inputs(32)
    d_out = numbers(B, H, 32, DV, frequency=0.53)
    expected = reference(whole, d_out, visible(32, True, (-1, -1), None))
    attend = attend_with(None, 32, None, {"is_causal": True})
    right = worst(ours(attend, whole, d_out, "zigzag", None), expected, "zigzag", None)
    wrong = worst(ours(attend, whole, d_out, "contiguous", None), expected, "contiguous", None)
    assert right < CLOSE and (wrong > 1e-2 or RANKS == 1), (right, wrong)
    return f"right {right:.1e}, wrong {wrong:.1e}"


def check_sequence():
    for layout in ("zigzag", "contiguous"):
        for length in (0, 1, 37):
            x = numbers(3, length, 2, frequency=0.9).requires_grad_()
            mine = ringtron.shard_sequence(x, dim=1, layout=layout)
            positions = ringtron.sequence_positions(length, layout=layout)
            assert torch.equal(mine, x.index_select(1, positions))
            assert torch.equal(ringtron.unshard_sequence(mine, dim=1, layout=layout, seq_length=length), x)
            mine.sum().backward()
            assert x.grad.sum() == mine.numel()


def check_compile():
    """One graph, the bits of eager, with and without documents; another length makes another graph. Groups in all forms."""
    for ends, group in ((None, dist.init_device_mesh("cpu", (RANKS,))), ([0, 5, 24], dist.group.WORLD)):
        for options in options_of_transports(RANKS):
            def block(q, k, v):
                attend = attend_with(group, q.shape[2] * RANKS, ends, {"is_causal": True, **options})
                return torch.tanh(attend(q * 2, k, v)) + 1

            torch._dynamo.reset()
            compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
            for length in (24,) if ends else (24, 32):
                whole = inputs(length, (B, H, G) if ends is None else (1, H, G))
                d_out = numbers(*whole[0].shape[:3], DV, frequency=0.53)
                for a, b in zip(ours(compiled, whole, d_out, "zigzag", None), ours(block, whole, d_out, "zigzag", None)):
                    assert torch.equal(a, b), f"{options}: {(a - b).abs().max()}"


def check_opcheck():
    """torch's own tests of an operator: schema, autograd, fake tensors, and all of it traced."""
    name = ringtron._group.group_name_of(None)
    for options in options_of_transports(RANKS):
        q, k, v = (ringtron.shard_sequence(x, dim=2).requires_grad_() for x in leaves(inputs(16)))
        torch.library.opcheck(torch.ops.ringtron.cp_attention.default, (q, k, v, name), {"is_causal": True, **options})
        rows = [x.detach()[0].transpose(0, 1).requires_grad_() for x in (q, k, v)]
        torch.library.opcheck(torch.ops.ringtron.cp_attention_varlen.default,
                              (*rows, torch.tensor([0, 3, 16], dtype=torch.int32), name), options)


def refused(kind, words, call):
    try:
        call()
    except kind as error:
        for word in words:
            assert word in str(error), f"expected \"{word}\" in: {error}"
        return
    raise AssertionError(f"expected {kind.__name__} with {words}")


def check_refusals():
    """Every rank refuses, before it has sent anything: the call after all of them works."""
    q, k, v = (ringtron.shard_sequence(x, dim=2) for x in inputs(32))
    call = ringtron.cp_attention
    meta = torch.empty_like(k, device="meta")
    refused(ValueError, ["one device", "cpu", "meta"], lambda: call(q, meta, v))
    refused(TypeError, ["one type", "Float"], lambda: call(q, k.float(), v))
    refused(TypeError, ["float64, float32 or bfloat16"], lambda: call(q.half(), k.half(), v.half()))
    refused(ValueError, ["[batch, heads, positions of this rank, size]", "got 3"], lambda: call(q[0], k, v))
    refused(ValueError, ["multiple of the 2 key heads", "got 3"], lambda: call(q[:, :3], k, v))
    refused(ValueError, ["head size", "8 and 7"], lambda: call(q, k[..., :7], v))
    refused(ValueError, ["batch size"], lambda: call(q, k[:1], v))
    refused(ValueError, ["as many heads of value"], lambda: call(q, k, v[:, :1]))
    refused(ValueError, ["positions of key"], lambda: call(q, k[:, :, 1:], v))
    refused(ValueError, ["positions of query on rank", "shard_sequence"], lambda: call(q, k, v, seq_length=33 * RANKS))
    refused(ValueError, ["p2p, all_gather, a2a or a2a+p2p", "ring"], lambda: call(q, k, v, cp_comm_type="ring"))
    refused(ValueError, ["zigzag", "striped"], lambda: call(q, k, v, layout="striped"))
    refused(ValueError, ["window_size"], lambda: call(q, k, v, window_size=(-2, 0)))
    refused(ValueError, ["whose product is the group's"], lambda: call(q, k, v, cp_comm_type="a2a+p2p"))
    refused(ValueError, ["whose product is the group's", "[3, 5]"],
            lambda: call(q, k, v, cp_comm_type="a2a+p2p", hierarchical_context_parallel_sizes=(3, 5)))
    refused(ValueError, ["name of a process group", "nobody"], lambda: call(q, k, v, "nobody"))
    refused(ValueError, ["a member"], lambda: call(q, k, v, dist.GroupMember.NON_GROUP_MEMBER))
    rows = [x[0].transpose(0, 1) for x in (q, k, v)]
    packed = lambda *ends, **options: ringtron.cp_attention_varlen(*rows, torch.tensor(ends, **options))
    refused(ValueError, ["begin with 0", "got 1"], lambda: packed(1, 32))
    refused(ValueError, ["end with the 32", "got 31"], lambda: packed(0, 31))
    refused(ValueError, ["do not decrease", "got 9 and then 5 at 2"], lambda: packed(0, 9, 5, 32))
    refused(TypeError, ["int32 or int64"], lambda: packed(0.0, 32.0))
    check_negative_control()


def check_kernels():
    """Against torch's own, with gradients, and by torch's tests of an operator."""
    ops = torch.ops.ringtron
    for dtype, tolerance in ((torch.float64, CLOSE), (torch.bfloat16, 0.02)):
        x = numbers(3, 5, 12, frequency=0.31).to(dtype).requires_grad_()
        targets = torch.tensor([[0, 11, 4, -100, 7]] * 3)
        halves = lambda x: F.silu(x[..., :6]) * x[..., 6:]
        flat = lambda reduction: lambda x: F.cross_entropy(x.flatten(0, 1).double(), targets.flatten(), reduction=reduction)
        pairs = [(ringtron.swiglu, halves)]
        pairs += [(lambda x, r=r: ringtron.cross_entropy(x, targets, reduction=r), flat(r)) for r in ("mean", "sum", "none")]
        for ours_of, theirs_of in pairs:
            a, b = ours_of(x), theirs_of(x)
            grads = [torch.autograd.grad(y.flatten(), x, numbers(y.numel(), frequency=0.7).to(y.dtype))[0] for y in (a, b)]
            for got, expected in ((a.flatten(), b.flatten()), grads):
                assert (got.double() - expected.double()).abs().max() < tolerance
        assert (ringtron.swiglu(x) - halves(x.flip(-1))).abs().max() > 0.1  # negative control
        torch.library.opcheck(ops.swiglu.default, (x.detach().requires_grad_(),))
        torch.library.opcheck(ops.cross_entropy.default, (x.detach().requires_grad_(), targets))
    refused(ValueError, ["equal number", "[2, 7]"], lambda: ringtron.swiglu(torch.zeros(2, 7)))
    refused(TypeError, ["floating"], lambda: ringtron.swiglu(targets))
    refused(TypeError, ["int64"], lambda: ringtron.cross_entropy(x, targets.int()))
    refused(ValueError, ["[..., vocabulary]", "[3, 4]"], lambda: ringtron.cross_entropy(x, targets[:, 1:]))
    refused(IndexError, ["from 0 to 11 or -100", "got 16"], lambda: ringtron.cross_entropy(x, targets + 5))


def check_version():
    """A package that was built with another torch names both versions."""
    from ringtron import _load
    built_with, _load.built_with = _load.built_with, lambda: "2.9.1"
    refused(ImportError, ["built with torch 2.9.1", f"torch {torch.__version__.partition('+')[0]} is imported"], _load.load)
    _load.built_with = built_with


def check_groups():
    """Two rings of two, each with its own sequence; and the ranks in messages are those of the run."""
    halves = [dist.new_group([0, 2]), dist.new_group([1, 3])]
    group = halves[RANK % 2]
    check_parity(group)
    dist.destroy_process_group(group)
    q = torch.zeros(1, 1, 4, 8)
    refused(ValueError, ["name of a process group"], lambda: ringtron.cp_attention(q, q, q, group.group_name))


def check_second_derivative():
    """There is none: no silent zero."""
    q, k, v = leaves(inputs(8))
    first, = torch.autograd.grad(ringtron.cp_attention(q, k, v).sum(), q, create_graph=True)
    refused(RuntimeError, ["derivative", "ringtron::_cp_attention_backward", "not implemented"], first.sum().backward)


def check_disagreement():
    """Ranks that make calls that are new to all of them, with different options, are told so."""
    q, k, v = (ringtron.shard_sequence(x, dim=2) for x in inputs(28))
    refused(dist.DistBackendError, ["one plan"], lambda: ringtron.cp_attention(q, k, v, is_causal=RANK > 0))


def main():
    dist.init_process_group("gloo", init_method="file://" + os.environ["RINGTRON_TEST_STORE"], rank=RANK, world_size=RANKS)
    checks = [check_sequence, check_parity, check_negative_control, check_refusals]
    checks += {1: [check_kernels, check_version, check_second_derivative], 2: [check_opcheck, check_compile], 4: [check_groups]}[RANKS]
    checks += [check_disagreement] if RANKS > 1 else []
    for check in checks:
        started = time.monotonic()
        result = check()
        if RANK == 0:
            print(f"{RANKS} ranks, {check.__name__}: {time.monotonic() - started:.1f} s {result or ''}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
