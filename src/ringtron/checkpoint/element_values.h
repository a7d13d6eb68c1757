// Elements of a tensor on disk as numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ringtron/checkpoint/dtype.h"

namespace ringtron {

// Row-major elements of type `dtype`, whose bytes they are: exact, but for integers of 64 bits beyond 2^53.
std::vector<double> element_values(std::span<const std::byte> bytes, DType dtype);

}  // namespace ringtron
