// Random attention problems and what each rank of a layout holds of them; shared by the tests of this folder.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "ringtron/base/random.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/tools/faults/faulty_attention.h"
#include "tests/context_parallel/reference_attention.h"

namespace ringtron::testing {

struct CaseSizes {
  std::int64_t sequence = 48, batch = 2, heads = 4, groups = 2, head_size = 5;
  std::int64_t value_size = 0;  // 0: head_size
  bool causal = true;
  double dropout = 0.0;
  AttentionWindow window = {};
  std::vector<std::vector<std::int64_t>> documents = {};  // where they begin, per sample; empty: one document each
  SoftmaxKind softmax = SoftmaxKind::vanilla;
  CpTransport transport = CpTransport::p2p;
  int hierarchical_a = 1;
  CpLayout layout = CpLayout::zigzag;
  std::uint64_t numbers = 0;  // other numbers in the tensors
};

struct AttentionCase {
  at::Tensor q, k, v, d_out;  // the whole sequence, fp64
  AttentionCall call;         // `shape` is set only where there are documents; ring_results puts the layout into it
  CpAttentionOptions options = {};
  CpFault fault = CpFault::none;
  int fault_layer = -1;  // all

  std::unique_ptr<CpAttention> attention(Communicator& comm, const SequenceLayout& layout) const {
    return make_faulty_attention(comm, layout, options, fault, fault_layer);
  }
};

// out, dq, dk, dv in this order, and d_sink where the softmax has a learned sink.
using Results = std::vector<at::Tensor>;

inline const char* const kResultNames[] = {"out", "dq", "dk", "dv", "d_sink"};
inline constexpr std::size_t kSinkResult = 4;  // ranks have shares of this one, of the others rows

// The same numbers in every process.
inline at::Tensor random_tensor(at::IntArrayRef sizes, std::uint64_t stream) {
  at::Tensor x = at::empty(sizes, at::kDouble);
  double* data = x.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < x.numel(); ++i) data[i] = random_normal(77, stream, i);
  return x;
}

inline AttentionCase make_case(const CaseSizes& z) {
  const std::int64_t value_size = z.value_size > 0 ? z.value_size : z.head_size;
  const std::uint64_t stream = 8 * z.numbers;
  AttentionCase c;
  c.q = random_tensor({z.sequence, z.batch, z.heads, z.head_size}, stream + 1);
  c.k = random_tensor({z.sequence, z.batch, z.groups, z.head_size}, stream + 2);
  c.v = random_tensor({z.sequence, z.batch, z.groups, value_size}, stream + 3);
  c.d_out = random_tensor({z.sequence, z.batch, z.heads, value_size}, stream + 4);
  c.call.scale = 1.0 / std::sqrt(static_cast<double>(z.head_size));
  c.call.causal = z.causal;
  c.call.window = z.window;
  c.call.transport = z.transport;
  c.call.softmax = z.softmax;
  if (z.softmax == SoftmaxKind::learnable) c.call.sink = random_tensor({z.heads}, stream + 5);
  if (!z.documents.empty()) {
    c.call.shape = std::make_shared<const SequenceShape>(SequenceShape{contiguous_layout(z.sequence, 1), z.documents});
  }
  if (z.dropout > 0.0) {
    AttentionDropout dropout{z.dropout, 0x1234567890abcdefull, {}, 8};
    for (std::int64_t b = 0; b < z.batch; ++b) dropout.sample_numbers.push_back(1000 + 7 * b);
    c.call.dropout = dropout;
  }
  c.options.hierarchical_a = z.hierarchical_a;
  return c;
}

// One mask per sample, or one for all where there are no documents.
inline std::vector<AttentionMask> masks_of(const CaseSizes& z) {
  std::vector<AttentionMask> masks;
  if (z.documents.empty()) masks.emplace_back(z.sequence, z.causal, z.window);
  for (const auto& starts : z.documents) masks.emplace_back(z.sequence, z.causal, z.window, starts);
  return masks;
}

inline SequenceLayout layout_of(const CaseSizes& z, int ranks) { return make_layout(z.layout, masks_of(z), ranks); }

// The rows of x that a rank holds.
inline at::Tensor shard(const at::Tensor& x, const SequenceLayout& layout, int rank) {
  std::vector<std::int64_t> positions;
  for (const PositionRange& range : layout.of(rank)) {
    const std::size_t at = positions.size();
    positions.resize(at + static_cast<std::size_t>(range.length()));
    std::iota(positions.begin() + static_cast<std::ptrdiff_t>(at), positions.end(), range.begin);
  }
  return x.index_select(0, at::tensor(positions, at::kLong));
}

// Forward and backward of fn over leaves made from q, k, v.
template <class Fn>
Results forward_backward(at::Tensor q, at::Tensor k, at::Tensor v, const at::Tensor& d_out, Fn&& fn) {
  q = q.detach().clone().set_requires_grad(true);
  k = k.detach().clone().set_requires_grad(true);
  v = v.detach().clone().set_requires_grad(true);
  const at::Tensor out = fn(q, k, v);
  out.backward(d_out);
  return {out.detach(), q.grad(), k.grad(), v.grad()};
}

// The same with a leaf of its own for the sink, whose gradient comes last. `fn` gets the call too.
template <class Fn>
Results forward_backward(const Results& inputs, AttentionCall call, Fn&& fn) {
  if (call.sink.defined()) call.sink = call.sink.detach().clone().set_requires_grad(true);
  Results results = forward_backward(inputs.at(0), inputs.at(1), inputs.at(2), inputs.at(3),
                                     [&](const auto& q, const auto& k, const auto& v) { return fn(q, k, v, call); });
  if (call.sink.defined()) results.push_back(call.sink.grad().defined() ? call.sink.grad() : at::zeros_like(call.sink));
  return results;
}

inline Results reference_results(const AttentionCase& c) {
  return forward_backward({c.q, c.k, c.v, c.d_out}, c.call,
                          [](const auto& q, const auto& k, const auto& v, const AttentionCall& call) {
                            return reference_attention(q, k, v, call);
                          });
}

// The call as a rank of this layout makes it; its shape is a new one unless it has this layout already.
inline AttentionCall call_on(const AttentionCase& c, const SequenceLayout& layout) {
  AttentionCall call = c.call;
  if (call.shape && !(call.shape->layout == layout)) {
    call.shape = std::make_shared<const SequenceShape>(SequenceShape{layout, call.shape->document_starts});
  }
  return call;
}

// This rank's part, computed in `type` by `attention`; d_sink is this rank's share of it.
inline Results results_of_rank(CpAttention& attention, const AttentionCase& c, const SequenceLayout& layout, int rank,
                               at::ScalarType type = at::kDouble) {
  const auto mine = [&](const at::Tensor& x) { return shard(x, layout, rank).to(type); };
  return forward_backward({mine(c.q), mine(c.k), mine(c.v), mine(c.d_out)}, call_on(c, layout),
                          [&](const auto& q, const auto& k, const auto& v, const AttentionCall& call) {
                            return attention.forward(q, k, v, call);
                          });
}

// The same over `comm`. A call that brings its own layout must not care which one the attention was made
// with.
inline Results ring_results(const AttentionCase& c, const SequenceLayout& layout, Communicator& comm,
                            at::ScalarType type = at::kDouble) {
  const auto attention =
      c.attention(comm, c.call.shape ? contiguous_layout(layout.sequence_length(), layout.ranks()) : layout);
  return results_of_rank(*attention, c, layout, comm.rank(), type);
}

// The cases that every parity suite goes through: grouped heads, one group, odd sizes, both masks, dropout.
inline std::vector<CaseSizes> parity_cases() {
  return {
      {},
      {.causal = false},
      {.batch = 1, .heads = 3, .groups = 3, .head_size = 1},
      {.batch = 3, .heads = 5, .groups = 1, .head_size = 7},
      {.dropout = 0.3},
      {.batch = 1, .heads = 6, .groups = 3, .head_size = 8, .causal = false, .dropout = 0.1},
  };
}

// What transports must do beyond that: windows, documents, sinks, values of another size.
inline std::vector<CaseSizes> masked_cases() {
  const std::vector<std::vector<std::int64_t>> documents = {{0, 1, 2, 20, 45}, {}};
  return {
      {.window = {.left = 7}},
      {.causal = false, .window = {.left = 3, .right = 9}},
      {.documents = documents},
      {.value_size = 3, .causal = false, .documents = documents},
      {.dropout = 0.2, .window = {.left = 5}, .documents = documents},
      {.value_size = 8, .softmax = SoftmaxKind::off_by_one},
      {.heads = 5, .groups = 1, .softmax = SoftmaxKind::learnable},
      {.heads = 6, .groups = 3, .window = {.left = 4}, .documents = documents, .softmax = SoftmaxKind::learnable},
  };
}

// The same cases under a transport.
inline std::vector<CaseSizes> over(CpTransport transport, std::vector<CaseSizes> cases, int hierarchical_a = 1) {
  for (CaseSizes& sizes : cases) {
    sizes.transport = transport;
    sizes.hierarchical_a = hierarchical_a;
  }
  return cases;
}

// fp64: sums of at most some hundred terms in another order than the reference's.
inline constexpr double kFp64ReorderTolerance = 1e-12;

}  // namespace ringtron::testing
