// This rank's part of a parameter, read from wherever the whole tensor lies.
#pragma once

#include <functional>
#include <optional>

#include "ringtron/checkpoint/dtype.h"
#include "ringtron/train/parameter_slabs.h"

namespace ringtron {

// Nothing: no weight is of this type.
std::optional<at::ScalarType> type_of(DType dtype);

// Fills bytes with a slab of the whole tensor, row-major.
using ReadSlab = std::function<void(const Slab& slab, std::span<std::byte> out)>;

// Into `target`, which has the parameter's local shape; its padding rows stay as they are. `stored`: the type of what
// is read.
void read_parameter(const ReadSlab& read, at::ScalarType stored, const Parameter& parameter, const at::Tensor& target,
                    const Job& job);

// Whether a tensor of shape `stored` holds what the parameter needs: the same shape, or with `finetune`, of embedding
// and output layer, rows for more ids than the tokenizer has, which are left out.
bool fits(const Shape& stored, const Parameter& parameter, bool finetune);

}  // namespace ringtron
