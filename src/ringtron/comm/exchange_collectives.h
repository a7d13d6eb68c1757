// All-reduce, reduce-scatter and all-gather out of exchange(), each rank sending to each: for groups whose messages
// take no multiprocessor (uses_copy_engines()).
//
// NCCL's kernels hold some of the multiprocessors for as long as a message takes, and products and attention beside
// them are slower for it. Here messages are copies by copy engines; only the sums are kernels, which read what has
// arrived at the memory's rate. On a GPU it all happens on a stream of its own: a call returns at once, but for its
// exchanges, in which hosts meet, and Work::wait() makes the current stream wait. Sums are in the order of the ranks
// behind the own share, each made on one rank and sent to the others: the same bits on all ranks and in every run. What
// has arrived and is not added yet takes up to 128 MiB.
//
// All ranks of the group call the same functions in the same order with tensors of one size. Tensors are flat and
// contiguous, of size() equal slices, of which the rank-th is a rank's own; they stay alive and untouched until waited
// for. CommError as from Communicator. One thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ringtron/comm/communicator.h"
#include "ringtron/comm/side_stream.h"

namespace ringtron {

class ExchangeCollectives {
 public:
  // The group outlives it.
  ExchangeCollectives(Communicator& group, at::Device device, std::int64_t most_staged = std::int64_t{1} << 24);

  // In place.
  Work all_reduce(const at::Tensor& whole);
  // The own slice becomes the sum of all ranks'; the others stay as they are.
  Work reduce_scatter(const at::Tensor& whole);
  // Each slice becomes what its owner has there. Sends what the current stream has made of the own one.
  Work all_gather(const at::Tensor& whole);

 private:
  struct Arrival;
  at::Tensor slice(const at::Tensor& whole, int rank) const;
  std::int64_t slice_size(const at::Tensor& whole) const;
  Arrival request(const at::Tensor& whole, std::int64_t begin, std::int64_t size);
  Work sum_own_slice(const at::Tensor& whole);

  Communicator& group_;
  at::Device device_;
  std::int64_t most_staged_;  // elements that have arrived in one exchange
  SideStream side_;
};

}  // namespace ringtron
