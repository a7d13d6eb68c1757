// Random attention problems and what each rank of a layout holds of them; shared by the tests of this folder.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "ringtron/base/random.h"
#include "ringtron/context_parallel/batch_slice.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/context_parallel/reference_attention.h"

namespace ringtron::testing {

struct CaseSizes {
  std::int64_t sequence = 48, batch = 2, heads = 4, groups = 2, head_size = 5;
  bool causal = true;
  double dropout = 0.0;
};

struct AttentionCase {
  at::Tensor q, k, v, d_out;  // the whole sequence, fp64
  AttentionCall call;
};

// out, dq, dk, dv in this order.
using Results = std::vector<at::Tensor>;

inline const char* const kResultNames[] = {"out", "dq", "dk", "dv"};

// The same numbers in every process.
inline at::Tensor random_tensor(at::IntArrayRef sizes, std::uint64_t stream) {
  at::Tensor x = at::empty(sizes, at::kDouble);
  double* data = x.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < x.numel(); ++i) data[i] = random_normal(77, stream, i);
  return x;
}

inline AttentionCase make_case(const CaseSizes& z) {
  AttentionCase c;
  c.q = random_tensor({z.sequence, z.batch, z.heads, z.head_size}, 1);
  c.k = random_tensor({z.sequence, z.batch, z.groups, z.head_size}, 2);
  c.v = random_tensor({z.sequence, z.batch, z.groups, z.head_size}, 3);
  c.d_out = random_tensor({z.sequence, z.batch, z.heads, z.head_size}, 4);
  c.call.scale = 1.0 / std::sqrt(static_cast<double>(z.head_size));
  c.call.causal = z.causal;
  if (z.dropout > 0.0) {
    AttentionDropout dropout{z.dropout, 0x1234567890abcdefull, {}, 8};
    for (std::int64_t b = 0; b < z.batch; ++b) dropout.sample_numbers.push_back(1000 + 7 * b);
    c.call.dropout = dropout;
  }
  return c;
}

// The rows of x that a rank holds, and the other way round: the whole from all ranks' rows.
inline at::Tensor shard(const at::Tensor& x, const SequenceLayout& layout, int rank) {
  return x.index_select(0, at::tensor(local_positions(layout, rank), at::kLong));
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

inline Results reference_results(const AttentionCase& c) {
  return forward_backward(c.q, c.k, c.v, c.d_out, [&](const auto& q, const auto& k, const auto& v) {
    return reference_attention(q, k, v, c.call);
  });
}

// This rank's part, computed in `type` over `comm`.
inline Results ring_results(const AttentionCase& c, const SequenceLayout& layout, Communicator& comm,
                            at::ScalarType type = at::kDouble) {
  const auto attention = make_cp_attention(comm, layout);
  const auto mine = [&](const at::Tensor& x) { return shard(x, layout, comm.rank()).to(type); };
  return forward_backward(
      mine(c.q), mine(c.k), mine(c.v), mine(c.d_out),
      [&](const auto& q, const auto& k, const auto& v) { return attention->forward(q, k, v, c.call); });
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

// fp64: sums of at most some hundred terms in another order than the reference's.
inline constexpr double kFp64ReorderTolerance = 1e-12;

}  // namespace ringtron::testing
