// Activations that are not kept: a segment of the model is run without a graph, and again in backward, with
// one.
//
// Only a segment's inputs are saved. Nothing random has to be: dropout is a function of seed, step, layer and
// position (kernels/dropout, context_parallel/block/attention_dropout), so the second run drops the same
// elements, and on a CPU the result has the same bits as without recomputation. docs/concepts/recompute.md
// says what it saves and costs.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <span>
#include <vector>

namespace ringtron {

// A pure function of its inputs, parameters and what it has captured: it is called twice.
using SegmentFunction = std::function<at::Tensor(std::span<const at::Tensor> inputs)>;

// segment(inputs), without keeping what it computes. Where gradients are off that is all; otherwise some input
// must require a gradient. In backward the segment runs again and its own backward follows at once, within the
// outer one: parameters that it uses get their gradients, and their hooks run, as that reaches them, once,
// just as without recomputation. So no parameter may be used both in a segment and outside of it. An input that
// something else uses too may get the same sum of gradients in another order, so not the same bits. What the
// segment captures must outlive the graph. Communication in it happens again, in backward: all ranks of its
// groups run the same segments in the same order.
at::Tensor recomputed(SegmentFunction segment, std::vector<at::Tensor> inputs);

}  // namespace ringtron
