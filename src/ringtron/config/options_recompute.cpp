// Flags that trade memory for time: activations that are computed again instead of kept.
#include "ringtron/config/option.h"

namespace ringtron {
namespace {

constexpr Option kOptions[] = {
    {"--recompute-granularity",
     FIELD(recompute.granularity),
     OnLoad::free,
     "Compute activations again in the backward pass instead of keeping them. full: whole layers, of which "
     "only the "
     "input is kept; selective: the modules of --recompute-modules. The result has the same bits on a CPU.",
     {},
     Compat::same,
     {.default_text = "none"}},
    {"--recompute-method",
     FIELD(recompute.method),
     OnLoad::free,
     "Which layers --recompute-granularity full recomputes. uniform: all, in pieces of "
     "--recompute-num-layers; block: "
     "the first --recompute-num-layers, one by one.",
     {},
     Compat::same,
     {.default_text = "none", .needs = "--recompute-granularity"}},
    {"--recompute-num-layers",
     FIELD(recompute.num_layers),
     OnLoad::free,
     "Layers per piece (uniform; the last piece may be shorter) or layers that are recomputed (block).",
     {.at_least = 1},
     Compat::same,
     {.unit = "layers", .default_text = "none", .needs = "--recompute-granularity"}},
    {"--recompute-modules",
     FIELD(recompute.modules),
     OnLoad::free,
     "What --recompute-granularity selective recomputes: core_attn, the attention without its projections; mlp, the "
     "feed-forward part without its norm; layernorm, outputs of norms and activations, which models of a hidden size of 2048 or more never keep, nor any with "
     "--recompute-granularity.",
     {},
     Compat::ours,
     {.note = "Megatron has more, of layers that are not here",
      .default_text = "core_attn",
      .needs = "--recompute-granularity selective"}},
    {"--recompute-activations", FIELD(recompute.activations), OnLoad::free,
     "The same as --recompute-granularity selective."},
    {"--ckpt-activations",
     FIELD(recompute.ckpt_activations),
     OnLoad::free,
     "Read as --recompute-activations, with a warning.",
     {},
     Compat::ours,
     {.note = "Megatron has no such flag, though many a text names it"}},
    {"--cp-keep-kv",
     FIELD(recompute.cp_keep_kv),
     OnLoad::free,
     "Keep what attention received from other context-parallel ranks, so that recomputing it sends nothing. "
     "It costs "
     "per recomputed layer and rank, in elements, with Q = s b n d / CP and KV = 2 s b g d / CP of the "
     "tensor rank's n "
     "and g heads, at most: p2p (CP - 1) KV; all_gather CP KV; a2a 2 Q + KV; a2a+p2p 2 Q + P KV.",
     {},
     Compat::ours,
     {.note = "Megatron communicates again"}},
};

}  // namespace

std::span<const Option> recompute_options() { return kOptions; }

}  // namespace ringtron
