// Makes a value that nobody has written show itself in a test.
#pragma once

#include <ATen/ATen.h>

namespace ringtron::testing {

// As long as it lives, memory of new tensors that nobody has written reads as NaN.
class UnwrittenIsNan {
 public:
  UnwrittenIsNan() { set(true); }
  ~UnwrittenIsNan() { set(false); }
  UnwrittenIsNan(const UnwrittenIsNan&) = delete;
  UnwrittenIsNan& operator=(const UnwrittenIsNan&) = delete;

 private:
  static void set(bool on) {
    at::globalContext().setDeterministicAlgorithms(on, /*warn_only=*/true);
    at::globalContext().setDeterministicFillUninitializedMemory(on);
  }
};

}  // namespace ringtron::testing
