#include "ringtron/kernels/ssd_scan/ssd_scan.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/kernels/device/fused.h"
#include "ringtron/kernels/ssd_scan/ssd_composed.h"
#include "ringtron/kernels/ssd_scan/ssd_fused.h"

namespace ringtron {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct Held : torch::CustomClassHolder {
  std::shared_ptr<const ScanSegments> segments;
  SsdOptions options;
  std::shared_ptr<SsdExchange> exchange;
  SsdPlaces places;
};

SsdInputs inputs_of(const variable_list& all) { return {all[0], all[1], all[2], all[3], all[4], all[5], all[6]}; }

class Scan : public Function<Scan> {
 public:
  static at::Tensor forward(AutogradContext* context, at::TensorList inputs, const c10::intrusive_ptr<Held>& held) {
    const SsdInputs in = inputs_of(inputs.vec());
    SsdStates states = ssd_states(in, *held->segments, held->options);
    at::Tensor initial = states.ends.state;  // no lines
    if (held->exchange) initial = held->exchange->initial_states(states.ends);
    variable_list kept = inputs.vec();
    kept.push_back(initial);
    context->save_for_backward(kept);
    context->saved_data["held"] = c10::IValue::make_capsule(held);
    return ssd_outputs(in, *held->segments, held->options, std::move(states), initial);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto held = c10::static_intrusive_pointer_cast<Held>(context->saved_data["held"].toCapsule());
    const variable_list kept = context->get_saved_variables();
    const SsdInputs in = inputs_of(kept);
    SsdBackwardStates states = ssd_backward_states(in, *held->segments, held->options, grads[0]);
    at::Tensor d_final = states.gradients.ends.state;  // no lines
    if (held->exchange) d_final = held->exchange->final_gradients(states.gradients.ends);
    SsdGradients g = ssd_gradients(in, *held->segments, held->options, kept.back(), grads[0], std::move(states),
                                   d_final, held->places);
    return {g.x, g.dt, g.B, g.C, g.a, g.d, g.dt_bias, {}};
  }
};

// Kernels take 16-bit rows: what all four functions decide alike from the inputs.
bool by_kernels(const SsdInputs& in) { return fused::ssd_fits(in) && fused_on_gpu({in.x, in.dt, in.B, in.C}); }

fused::SsdDevice device_of(const SsdInputs& in) { return {current_cuda_stream(), multiprocessors(in.x)}; }

}  // namespace

SsdStates ssd_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options) {
  if (by_kernels(in)) return fused::ssd_states(in, segments, options, device_of(in));
  return composed::ssd_states(in, segments, options);
}

at::Tensor ssd_outputs(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options, SsdStates&& states,
                       const at::Tensor& initial) {
  if (by_kernels(in)) return fused::ssd_outputs(in, segments, std::move(states), initial, device_of(in));
  return composed::ssd_outputs(in, segments, options, states, initial);
}

SsdBackwardStates ssd_backward_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                                      const at::Tensor& dy) {
  if (by_kernels(in)) return fused::ssd_backward_states(in, segments, options, dy, device_of(in));
  return composed::ssd_backward_states(in, segments, options, dy);
}

SsdGradients ssd_gradients(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                           const at::Tensor& initial, const at::Tensor& dy, SsdBackwardStates&& states,
                           const at::Tensor& d_final, const SsdPlaces& places) {
  if (by_kernels(in)) {
    return fused::ssd_gradients(in, segments, options, {initial, dy, std::move(states), d_final, places},
                                device_of(in));
  }
  return composed::ssd_gradients(in, segments, options, initial, dy, states, d_final);
}

at::Tensor ssd_scan(const SsdInputs& in, const std::shared_ptr<const ScanSegments>& segments, const SsdOptions& options,
                    const std::shared_ptr<SsdExchange>& exchange, const SsdPlaces& places) {
  RT_CHECK(in.x.dim() == 4 && in.x.size(0) == segments->rows() && in.x.size(1) == segments->samples(),
           "ssd_scan: rows of the segments");
  RT_CHECK(in.B.dim() == 4 && in.B.sizes() == in.C.sizes() && in.x.size(2) % in.B.size(2) == 0,
           "ssd_scan: B and C of groups that divide the heads");
  RT_CHECK(exchange || (segments->initials() == 0 && segments->finals() == 0),
           "ssd_scan: segments that continue a document without an exchange");
  auto held = c10::make_intrusive<Held>();
  held->segments = segments;
  held->options = options;
  held->exchange = exchange;
  held->places = places;
  const variable_list inputs = {in.x, in.dt, in.B, in.C, in.a, in.d, in.dt_bias};
  return Scan::apply(at::TensorList(inputs), held);
}

}  // namespace ringtron
