"""The shape of one training step, its cases, its flags for pretrain_gpt and its operations."""
import dataclasses
import math

LOGIT_DEVIATION = 1.25  # of logits and of what goes into attention, at the initial weights


@dataclasses.dataclass(frozen=True)
class Shape:
    """A GPT with RMSNorm, rotary positions, SwiGLU, no biases and an output layer of its own, and the batch of one step."""
    layers: int = 8
    hidden: int = 4096
    heads: int = 32
    groups: int = 0  # query groups; 0: as many as heads
    ffn: int = 13696
    vocab: int = 50304
    sequence: int = 8192
    micro_batch: int = 1
    micro_batches: int = 1

    def __post_init__(self):
        if self.groups == 0:
            object.__setattr__(self, "groups", self.heads)
        if min(dataclasses.astuple(self)) < 1:
            raise ValueError(f"expected sizes of 1 or more, got {self}")
        if self.hidden % self.heads or self.heads % self.groups or self.head_size % 2:
            raise ValueError(f"expected groups to divide heads, heads to divide hidden, an even head size, got {self}")
        if self.vocab % 128:  # our padding rows take no part; the peer has none
            raise ValueError(f"expected a vocabulary that is a multiple of 128, got {self.vocab}")
        if self.vocab > 65408:
            raise ValueError(f"expected a vocabulary of at most 65408, whose tokens fit into two bytes, got {self.vocab}")

    @property
    def head_size(self):
        return self.hidden // self.heads

    @property
    def samples(self):
        return self.micro_batch * self.micro_batches

    @property
    def tokens(self):
        return self.samples * self.sequence

    @property
    def parameters(self):
        kv = self.groups * self.head_size
        layer = self.hidden * (self.hidden + 2 * kv) + self.hidden**2 + 3 * self.hidden * self.ffn + 2 * self.hidden
        return self.layers * layer + 2 * self.vocab * self.hidden + self.hidden

    @property
    def initial_deviation(self):
        """Of the weights. At every hidden size attention scores are then so large that heads and positions count in the loss."""
        return LOGIT_DEVIATION / math.sqrt(self.hidden)

    def step_flops(self):
        """Multiplications and additions of one step, as docs/formats/log_line.md counts them."""
        kv = self.groups * self.head_size
        products = self.layers * (3 * self.hidden * self.ffn + self.hidden * (2 * self.hidden + 2 * kv)) + self.hidden * self.vocab
        cells = self.samples * self.sequence * (self.sequence + 1) / 2
        return 6 * self.tokens * products + 12 * self.layers * self.hidden * cells

    def intervals(self):
        """How many steps to time: 15, and more where they are short, which a busy host disturbs more."""
        seconds = self.step_flops() / 400e12  # about what an H200 takes
        return max(15, min(100, round(2 / seconds)))

    def data_flags(self):
        """What decides which samples a step reads, without the number of steps."""
        return ["--seq-length", self.sequence, "--max-position-embeddings", self.sequence, "--micro-batch-size",
                self.micro_batch, "--global-batch-size", self.samples, "--split", "100,0,0", "--eval-iters", 0,
                "--tokenizer-type", "NullTokenizer", "--vocab-size", self.vocab, "--num-layers", self.layers,
                "--hidden-size", self.hidden, "--num-attention-heads", self.heads]

    def flags(self):
        grouped = ["--group-query-attention", "--num-query-groups", self.groups] if self.groups != self.heads else []
        return self.data_flags() + grouped + [
            "--ffn-hidden-size", self.ffn, "--swiglu", "--normalization", "RMSNorm", "--position-embedding-type", "rope",
            "--disable-bias-linear", "--untie-embeddings-and-output-weights", "--attention-dropout", 0,
            "--hidden-dropout", 0, "--init-method-std", self.initial_deviation]


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Megatron's defaults, but for the learning rate; vectors do not decay."""
    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    clip: float = 1.0

    def flags(self):
        return ["--lr", self.learning_rate, "--lr-decay-style", "constant", "--adam-beta1", self.beta1, "--adam-beta2",
                self.beta2, "--adam-eps", self.epsilon, "--weight-decay", self.weight_decay, "--clip-grad", self.clip]


SMALL = Shape(layers=12, hidden=768, heads=12, ffn=3072, sequence=1024)
CASES = {
    "8k": Shape(),
    "8k_x4": Shape(micro_batches=4),
    "190m_b4": dataclasses.replace(SMALL, micro_batch=4),
    "190m_b16": dataclasses.replace(SMALL, micro_batch=16),
    "190m_b32": dataclasses.replace(SMALL, micro_batch=32),
    # Small enough for a CPU: to try the benchmark itself.
    "tiny": Shape(layers=2, hidden=64, heads=4, groups=2, ffn=96, vocab=512, sequence=64, micro_batch=2, micro_batches=2),
}


def parse_case(text):
    """"8k" or "8k,sequence=16384,layers=4" to its Shape. ValueError says what was expected."""
    name, *changes = text.split(",")
    if name not in CASES:
        raise ValueError(f"expected one of {', '.join(CASES)}, got {name}")
    fields, changed = {f.name for f in dataclasses.fields(Shape)}, {}
    for change in changes:
        key, equals, value = change.partition("=")
        if key not in fields or not equals or not value.isdecimal():
            raise ValueError(f"expected NAME=NUMBER with a name of {', '.join(sorted(fields))}, got {change}")
        changed[key] = int(value)
    if "heads" in changed and "groups" not in changed:
        changed["groups"] = 0
    return dataclasses.replace(CASES[name], **changed)
