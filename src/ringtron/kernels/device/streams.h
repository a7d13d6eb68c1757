// Streams of a device beside the caller's.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>

#include <vector>

namespace ringtron {

// By falling priority, at least three; the same ones at each call, since LibTorch keeps memory by stream. None where the device has
// none. Any thread may call it.
std::vector<c10::Stream> streams_by_priority(at::Device device);

}  // namespace ringtron
