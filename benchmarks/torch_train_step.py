#!/usr/bin/env python3
"""The peer of benchmarks/train_step.py: the same GPT and training step in plain torch, compiled by torch.compile.

fp32 main weights under bf16 autocast, fused AdamW, clipping, attention of cuDNN: what one writes who wants torch to be fast.
train_step.py starts it with one argument, the set-up as JSON, and talks to it in JSON lines: a request on stdin, its answer on
stdout.
    {"do": "check", "weights": FOLDER, "at rest": FILE, "training": FILE}   losses of steps from these weights on the samples of
                                                                            the files, and of runs with a fault in them
    {"do": "time", "weights": FOLDER}   milliseconds of steps on fresh random tokens, peak memory, rate of GEMM
"""
import contextlib
import json
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from whole_step.checkpoint import Checkpoint, peer_name, qkv_rows
from whole_step.shape import Optimizer, Shape

TYPES = {"F32": torch.float32, "BF16": torch.bfloat16}
EPSILON, ROTARY_BASE = 1e-5, 10000.0


class RmsNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return F.rms_norm(x, (x.size(-1),), self.weight.to(x.dtype), EPSILON)


def rotated(x, cos, sin):
    low, high = x.float().chunk(2, -1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), -1).to(x.dtype)


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.heads, self.groups, self.head_size = shape.heads, shape.groups, shape.head_size
        kv = shape.groups * shape.head_size
        self.attention_norm, self.mlp_norm = RmsNorm(shape.hidden), RmsNorm(shape.hidden)
        self.qkv = nn.Linear(shape.hidden, shape.hidden + 2 * kv, bias=False)
        self.projection = nn.Linear(shape.hidden, shape.hidden, bias=False)
        self.gate_up = nn.Linear(shape.hidden, 2 * shape.ffn, bias=False)
        self.down = nn.Linear(shape.ffn, shape.hidden, bias=False)

    def attend(self, x, cos, sin):
        heads = self.qkv(x).unflatten(-1, (self.heads + 2 * self.groups, self.head_size)).transpose(1, 2)
        q, k, v = heads.split((self.heads, self.groups, self.groups), 1)
        out = F.scaled_dot_product_attention(rotated(q, cos, sin), rotated(k, cos, sin), v, is_causal=True,
                                             enable_gqa=self.groups != self.heads)
        return self.projection(out.transpose(1, 2).flatten(2))

    def forward(self, x, cos, sin):
        x = x + self.attend(self.attention_norm(x), cos, sin)
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Gpt(nn.Module):
    def __init__(self, shape, narrow_residual):
        super().__init__()
        self.narrow_residual = narrow_residual
        self.embedding = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.final_norm = RmsNorm(shape.hidden)
        self.output = nn.Linear(shape.hidden, shape.vocab, bias=False)

    def forward(self, tokens, labels, cos, sin):
        x = self.embedding(tokens)
        if self.narrow_residual:
            x = x.bfloat16()
        for layer in self.layers:
            x = layer(x, cos, sin)
        return F.cross_entropy(self.output(self.final_norm(x)).flatten(0, 1).float(), labels.flatten())


class Peer:
    def __init__(self, setup):
        self.setup = setup
        self.shape, self.optimizer_options = Shape(**setup["shape"]), Optimizer(**setup["optimizer"])
        self.device = torch.device(setup["device"])
        self.gpu = self.device.type == "cuda"
        with self.device:
            self.model = Gpt(self.shape, self.gpu and setup["residual"] == "bf16")
        self.run = torch.compile(self.model) if setup["compile"] else self.model
        self.cos, self.sin = self.rotary()
        self.optimizer = None

    def rotary(self):
        size = self.shape.head_size
        exponents = torch.arange(0, size, 2, dtype=torch.float64, device=self.device) / size
        angle = torch.arange(self.shape.sequence, device=self.device)[:, None] * ROTARY_BASE**-exponents
        return angle.cos().float(), angle.sin().float()

    @torch.no_grad()
    def load(self, folder, swapped=None):
        """Weights of a checkpoint of ours and an optimizer that has seen nothing."""
        checkpoint, parameters = Checkpoint(folder), dict(self.model.named_parameters())
        for name, stored in checkpoint.weights().items():
            own = parameters.pop(peer_name(name))
            whole = torch.empty(checkpoint.shape(stored), device=self.device)
            for dim, offset, kind, shape, data in checkpoint.pieces(stored):
                piece = torch.frombuffer(data, dtype=TYPES[kind]).view(shape)
                whole.narrow(dim, offset, shape[dim]).copy_(piece)
            if name.endswith("linear_qkv.weight"):
                whole = torch.cat([whole[begin:end] for begin, end in qkv_rows(self.shape, swapped)])
            own.copy_(whole)
        if parameters:
            raise ValueError(f"{folder}: expected all weights of the peer, got none for {', '.join(parameters)}")
        o, weights = self.optimizer_options, list(self.model.parameters())
        groups = [{"params": [w for w in weights if w.dim() > 1], "weight_decay": o.weight_decay},
                  {"params": [w for w in weights if w.dim() == 1], "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=o.learning_rate, betas=(o.beta1, o.beta2), eps=o.epsilon, fused=True)
        self.optimizer.zero_grad(set_to_none=True)

    def precision(self):
        return torch.autocast("cuda", torch.bfloat16) if self.gpu else contextlib.nullcontext()

    def backend(self):
        return sdpa_kernel(SDPBackend.CUDNN_ATTENTION) if self.gpu else contextlib.nullcontext()

    def step(self, batches):
        """One training step over micro-batches [sample, position + 1]; the mean loss, on the device."""
        total = torch.zeros((), device=self.device)
        for batch in batches:
            tokens, labels = batch[:, :-1].contiguous(), batch[:, 1:].contiguous()
            with self.backend():
                with self.precision():
                    loss = self.run(tokens, labels, self.cos, self.sin) / self.shape.micro_batches
                loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.optimizer_options.clip, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def losses(self, samples, steps=None):
        """Of all steps, or of the first ones."""
        per_step, micro = self.shape.samples, self.shape.micro_batch
        steps = steps or len(samples) // per_step
        return [self.step(samples[i * per_step:(i + 1) * per_step].split(micro)).item() for i in range(steps)]

    def scale_learning_rate(self, factor):
        for group in self.optimizer.param_groups:
            group["lr"] *= factor

    def losses_at_rest(self, folder, samples, swapped=None):
        self.load(folder, swapped)
        self.scale_learning_rate(0.0)
        return self.losses(samples)

    def check(self, request):
        folder, (rest, training) = request["weights"], (self.samples(request[part]) for part in ("at rest", "training"))
        answer = {"at rest": self.losses_at_rest(folder, rest)}
        self.load(folder)
        answer["training"] = self.losses(training)
        self.load(folder)
        self.scale_learning_rate(0.5)
        answer["faults in training"] = {"half the learning rate": self.losses(training, len(answer["training"]) // 2)}
        answer["faults at rest"] = {"two heads swapped": self.losses_at_rest(folder, rest, (0, self.shape.heads - 1))}
        tables = self.cos, self.sin
        self.cos, self.sin = torch.ones_like(self.cos), torch.zeros_like(self.sin)
        answer["faults at rest"]["no rotation"] = self.losses_at_rest(folder, rest)
        self.cos, self.sin = tables
        return answer

    def samples(self, file):
        with open(file) as lines:
            return torch.tensor([json.loads(line)["tokens"] for line in lines]).to(self.device)

    def synchronize(self):
        if self.gpu:
            torch.cuda.synchronize()

    def time(self, request):
        self.load(request["weights"])
        warmup, intervals, interval = (self.setup[key] for key in ("warmup", "intervals", "interval"))
        before = gemm_rate(self.device, self.setup["gemm_seconds"])
        if self.gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        size = (self.shape.micro_batches, self.shape.micro_batch, self.shape.sequence + 1)
        milliseconds = []
        for i in range(-warmup // interval, intervals):  # as a log line of ours: all of it, to the loss on the host
            self.synchronize()
            begin = time.perf_counter()
            for _ in range(interval):
                loss = self.step(torch.randint(self.shape.vocab, size, device=self.device))
            loss.item()
            if i >= 0:
                milliseconds.append(1e3 * (time.perf_counter() - begin) / interval)
        peak = torch.cuda.max_memory_allocated() if self.gpu else 0
        return {"milliseconds": milliseconds, "peak_bytes": peak, "gemm_before": before,
                "gemm_after": gemm_rate(self.device, self.setup["gemm_seconds"]), "machine": machine(self.device)}


def gemm_rate(device, seconds):
    """Operations per second of a square product, sustained: bf16 and 8192 rows on a GPU."""
    n, kind = (8192, torch.bfloat16) if device.type == "cuda" else (512, torch.float32)
    a, b, out = (torch.randn(n, n, device=device).to(kind) for _ in range(3))
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    for _ in range(3):
        torch.mm(a, b, out=out)
    wait()
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for _ in range(20):
            torch.mm(a, b, out=out)
        wait()
        count += 20
    return 2 * n**3 * count / (time.perf_counter() - begin)


def machine(device):
    if device.type != "cuda":
        return f"a CPU, torch {torch.__version__}"
    return (f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, CUDA {torch.version.cuda}, "
            f"cuDNN {torch.backends.cudnn.version()}")


def main():
    peer = Peer(json.loads(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        answer = peer.check(request) if request["do"] == "check" else peer.time(request)
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
