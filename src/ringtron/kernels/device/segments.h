// Tensors of many sizes in one launch: which of them a block of threads works on. Segments travel in the kernel's
// arguments, so that nothing is copied to the device first.
#pragma once

#include <cstdint>

#include "ringtron/base/host_device.h"

namespace ringtron {

// `S` has the members `elements` and `first_block`; segments are in the order of their blocks.
template <class S, int kMostSegments>
struct Segments {
  static constexpr int kMost = kMostSegments;
  S segments[kMost];
  int count = 0;
  std::int64_t blocks = 0;

  // False when there is no room: launch what is there, then begin anew.
  bool add(S segment, std::int64_t elements_of_block) {
    if (count == kMost) return false;
    segment.first_block = blocks;
    blocks += (segment.elements + elements_of_block - 1) / elements_of_block;
    segments[count++] = segment;
    return true;
  }

  RT_HOST_DEVICE const S& of_block(std::int64_t block) const {
    int low = 0, high = count - 1;  // the last whose first block is not behind it
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (segments[middle].first_block <= block)
        low = middle;
      else
        high = middle - 1;
    }
    return segments[low];
  }
};

}  // namespace ringtron
