#include "ringtron/parameter/parameter_store.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/parameter/initialize.h"

namespace ringtron {

Parameter& ParameterStore::add(ParameterSpec spec) {
  for (const Parameter& other : parameters_) RT_CHECK(other.name != spec.name, "two parameters named {}", spec.name);
  Parameter& parameter = parameters_.emplace_back(std::move(spec));
  parameter.value = at::empty(parameter.shard.local_shape(options_.tp_size),
                              at::TensorOptions().dtype(options_.type).device(options_.device));
  if (parameter.real_rows >= 0) {
    RT_CHECK_EQ(parameter.shard.dim, 0, "the dim of a parameter with padding rows");
    const std::int64_t rows = parameter.value.size(0);
    parameter.local_padding_rows =
        rows - std::clamp<std::int64_t>(parameter.real_rows - rows * options_.tp_rank, 0, rows);
  }
  if (options_.values == InitialValues::drawn) {
    draw(parameter);
  } else {
    zero_padding(parameter, parameter.value);
  }
  parameter.value.requires_grad_(true);
  return parameter;
}

NamedParameters ParameterStore::add(ParameterSpecs specs) {
  ParameterList list;
  for (ParameterSpec& spec : specs) list.push_back(&add(std::move(spec)));
  return NamedParameters(std::move(list));
}

void ParameterStore::draw(Parameter& parameter) const {
  switch (parameter.initial.kind) {
    case Initial::Kind::constant:
      fill_constant(parameter, parameter.initial.value);
      break;
    case Initial::Kind::normal:
      fill_normal(parameter, options_.seed, parameter.initial.value, options_.tp_rank, options_.tp_size);
      break;
    case Initial::Kind::xavier_uniform:
      fill_xavier_uniform(parameter, options_.seed, options_.tp_rank, options_.tp_size);
      break;
    case Initial::Kind::uniform:
      fill_uniform(parameter, options_.seed, parameter.initial.value, options_.tp_rank, options_.tp_size);
      break;
    case Initial::Kind::time_step:
      fill_time_step(parameter, options_.seed, options_.tp_rank, options_.tp_size);
      break;
    case Initial::Kind::log_uniform:
      fill_log_uniform(parameter, options_.seed, options_.tp_rank, options_.tp_size);
      break;
  }
  zero_padding(parameter, parameter.value);
}

void ParameterStore::draw() {
  for (Parameter& parameter : parameters_) draw(parameter);
}

ParameterList ParameterStore::all() {
  ParameterList out;
  for (Parameter& parameter : parameters_) out.push_back(&parameter);
  return out;
}

std::int64_t ParameterStore::local_elements() const {
  std::int64_t count = 0;
  for (const Parameter& parameter : parameters_) count += parameter.value.numel();
  return count;
}

}  // namespace ringtron
