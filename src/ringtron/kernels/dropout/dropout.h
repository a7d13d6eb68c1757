// Dropout whose mask is a pure function of the global element, so that no layout of processes changes it.
//
// Element (position, sample, feature) is kept when its 32-bit Philox word is at least p * 2^32; the word's
// stream is the sample's number in the whole run and its index is position * width + feature (base/random.h).
// Nothing is saved for the backward: the mask is made again.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ringtron {

// Which elements of the run a tensor [s, b, h] holds.
struct DropoutRegion {
  at::Tensor positions;       // int64 [s]: global position of each row in its sequence
  at::Tensor sample_numbers;  // int64 [b]: number of each sample in the whole run
};

// x: [s, b, h] in fp64, fp32, fp16 or bf16, on the device of `region`. Returns x / (1 - p) where kept and 0
// elsewhere, with autograd. p = 0 returns x itself. `key` must differ between steps, layers and places
// (random_key below).
at::Tensor dropout(const at::Tensor& x, double p, std::uint64_t key, const DropoutRegion& region);

// Mixes seed, step, layer and place (below 256) into a Philox key.
std::uint64_t random_key(std::uint64_t seed, std::uint64_t step, std::uint64_t layer, std::uint64_t place);

}  // namespace ringtron
