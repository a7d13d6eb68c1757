// Counts the bytes of CPU tensors that are allocated while it lives, and the most that were at once.
//
//   const AllocationPeak memory;
//   ... forward, backward ...
//   EXPECT_LT(memory.peak(), ...);
//
// One at a time in a process; it replaces ATen's CPU allocator meanwhile. Tensors made before do not count,
// tensors that outlive it may. Any thread may allocate.
#pragma once

#include <cstdint>

namespace ringtron::testing {

class AllocationPeak {
 public:
  AllocationPeak();
  ~AllocationPeak();
  AllocationPeak(const AllocationPeak&) = delete;
  AllocationPeak& operator=(const AllocationPeak&) = delete;

  std::int64_t current() const;  // bytes
  std::int64_t peak() const;     // bytes
};

}  // namespace ringtron::testing
