#include "ringtron/parameter/parameter_spec.h"

namespace ringtron {
namespace {

std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t length : shape) count *= length;
  return count;
}

}  // namespace

std::int64_t ParameterSpec::elements() const { return product(shard.global_shape); }

std::int64_t ParameterSpec::local_elements(int tp_size) const { return product(shard.local_shape(tp_size)); }

}  // namespace ringtron
