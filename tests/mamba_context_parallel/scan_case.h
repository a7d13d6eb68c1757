// A convolution and scan over a sequence, on one process and over many ranks.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <random>
#include <vector>

#include "ringtron/mamba_context_parallel/context_scan.h"
#include "tests/context_parallel/attention_case.h"
#include "tests/context_parallel/thread_ring.h"

namespace ringtron::testing {

struct ScanCase {
  ScanSizes sizes;
  std::int64_t length = 1, samples = 1;
  std::vector<std::vector<std::int64_t>> documents;
  std::vector<at::Tensor> inputs;  // xbc, dt, then conv weight and bias, a, d, dt_bias
  at::Tensor dy;
};

inline constexpr std::size_t kOfRows = 2;  // so many of the inputs have rows

inline ScanCase make_scan_case(const ScanSizes& sizes, std::int64_t length, std::int64_t samples, std::uint64_t key) {
  ScanCase c{sizes, length, samples, {}, {}, {}};
  const std::int64_t channels = sizes.inner() + 2 * sizes.shared();
  c.inputs = {random_tensor({length, samples, channels}, key),
              random_tensor({length, samples, sizes.heads}, key + 1),
              random_tensor({channels, 1, 4}, key + 2),
              random_tensor({channels}, key + 3),
              -random_tensor({sizes.heads}, key + 4).exp() * 0.1,
              random_tensor({sizes.heads}, key + 5),
              random_tensor({sizes.heads}, key + 6)};
  c.dy = random_tensor({length, samples, sizes.inner()}, key + 7);
  return c;
}

// Documents begin anywhere, on average one in `every` positions.
inline void add_documents(ScanCase& c, int every, std::mt19937& random) {
  for (std::int64_t sample = 0; sample < c.samples; ++sample) {
    std::vector<std::int64_t> starts;
    for (std::int64_t p = 1; p < c.length; ++p) {
      if (random() % static_cast<unsigned>(every) == 0) starts.push_back(p);
    }
    c.documents.push_back(starts);
  }
}

// y and the gradients of all inputs, of this rank.
inline std::vector<at::Tensor> scan_results(const ScanCase& c, const SequenceLayout& layout, ScanWay way,
                                            Communicator& comm) {
  const auto shape = make_scan_shape({layout, c.documents}, c.samples, comm.rank());
  std::vector<at::Tensor> in;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    in.push_back((i < kOfRows ? shard(c.inputs[i], layout, comm.rank()) : c.inputs[i].clone()).requires_grad_());
  }
  const at::Tensor y = context_scan(in[0], in[1], {in[2], in[3], in[4], in[5], in[6]}, c.sizes, way, comm, shape);
  std::vector<at::Tensor> out = torch::autograd::grad({y}, in, {shard(c.dy, layout, comm.rank())}, std::nullopt, false,
                                                      /*allow_unused=*/true);
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!out[i].defined()) out[i] = at::zeros_like(in[i]);
  }
  out.insert(out.begin(), y.detach());
  return out;
}

// Put together from all ranks: rows in their places, gradients of parameters summed.
inline std::vector<at::Tensor> scan_over_ranks(const ScanCase& c, const SequenceLayout& layout, ScanWay way) {
  std::vector<std::vector<at::Tensor>> of_rank(static_cast<std::size_t>(layout.ranks()));
  ThreadRing(layout.ranks()).run([&](Communicator& comm) {
    of_rank[static_cast<std::size_t>(comm.rank())] = scan_results(c, layout, way, comm);
  });
  std::vector<at::Tensor> whole;
  const at::Tensor places = at::arange(c.length, at::kLong);
  for (std::size_t i = 0; i < of_rank[0].size(); ++i) {
    at::Tensor sum;
    for (int rank = 0; rank < layout.ranks(); ++rank) {
      at::Tensor part = of_rank[static_cast<std::size_t>(rank)][i];
      if (i <= kOfRows) {
        std::vector<std::int64_t> sizes = part.sizes().vec();
        sizes[0] = c.length;
        part = at::zeros(sizes, part.options()).index_copy_(0, shard(places, layout, rank), part);
      }
      sum = sum.defined() ? sum + part : part;
    }
    whole.push_back(sum);
  }
  return whole;
}

}  // namespace ringtron::testing
