// A group as autograd keeps it from a forward to its backward: an owned object, not an address in an integer.
#pragma once

#include <ATen/core/ivalue.h>

#include "ringtron/comm/communicator.h"

namespace ringtron {

struct SavedGroup final : torch::CustomClassHolder {
  explicit SavedGroup(Communicator& saved) : group(saved) {}

  Communicator& group;  // outlives the graph
};

inline c10::IValue save_group(Communicator& group) {
  return c10::IValue::make_capsule(c10::make_intrusive<SavedGroup>(group));
}

inline Communicator& group_of(const c10::IValue& saved) {
  return c10::static_intrusive_pointer_cast<SavedGroup>(saved.toCapsule())->group;
}

}  // namespace ringtron
