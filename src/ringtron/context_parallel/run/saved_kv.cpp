#include "ringtron/context_parallel/run/saved_kv.h"

#include <ATen/ATen.h>

#include <set>

namespace ringtron {

std::int64_t SavedKv::bytes() const {
  std::set<const void*> seen;
  std::int64_t sum = 0;
  const auto add = [&](const at::Tensor& x) {
    if (!x.defined() || !seen.insert(x.storage().unsafeGetStorageImpl()).second) return;
    sum += static_cast<std::int64_t>(x.storage().nbytes());
  };
  for (const auto& [number, block] : buffers) {
    add(block.k);
    add(block.v);
  }
  add(q);
  add(out);
  return sum;
}

}  // namespace ringtron
