// Internal to comm: reductions by c10d's names.
#pragma once

#include <torch/csrc/distributed/c10d/Types.hpp>

#include "ringtron/comm/communicator.h"

namespace ringtron {

inline c10d::ReduceOp to_c10d(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return c10d::ReduceOp::SUM;
    case ReduceOp::max:
      return c10d::ReduceOp::MAX;
    case ReduceOp::min:
      return c10d::ReduceOp::MIN;
  }
  return c10d::ReduceOp::SUM;
}

}  // namespace ringtron
