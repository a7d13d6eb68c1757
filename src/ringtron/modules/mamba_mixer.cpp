#include "ringtron/modules/mamba_mixer.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/kernels/gated_norm/gated_norm.h"
#include "ringtron/mamba_context_parallel/context_scan.h"

namespace ringtron {

MambaMixer::MambaMixer(const BuildContext& build, const MambaOptions& options, const LayerSpec& layer,
                       const NamedParameters& parameters)
    : tensor_group_(build.tensor_group()),
      proof_(build.attention.proof()),
      context_group_(std::make_unique<CountingCommunicator>(
          build.parallel.context(), [&proof = build.attention.proof(), number = layer.number](
                                        std::int64_t bytes) { proof.layer(number).done.bytes += bytes; })),
      options_(options),
      layer_(layer),
      heads_(options.heads / tensor_group_.size()),
      groups_(options.groups / tensor_group_.size()),
      in_weight_(&parameters.at("in_proj.weight")),
      conv_weight_(&parameters.at("conv1d_weight")),
      conv_bias_(&parameters.at("conv1d_bias")),
      dt_bias_(&parameters.at("dt_bias")),
      a_log_(&parameters.at("A_log")),
      d_(&parameters.at("D")),
      norm_weight_(&parameters.at("norm.weight")),
      out_weight_(&parameters.at("out_proj.weight")) {}

ScanBytes MambaMixer::bytes_of(const at::Tensor& xbc, const ScanShape& shape) const {
  const std::int64_t element = xbc.element_size();
  ScanMessages messages{{heads_, options_.head_size, groups_, options_.state_size},
                        xbc.size(1),
                        options_.conv_width - 1,
                        element,
                        std::max<std::int64_t>(element, 4)};
  const int rank = context_group_->rank();
  if (scan_way(layer_.transport) == ScanWay::heads) return scan_bytes(shape.layout, ScanWay::heads, messages, rank);
  messages.samples = 1;  // the plan is of all
  return scan_bytes(shape.plan, messages, rank);
}

at::Tensor MambaMixer::scanned(const at::Tensor& xbc, const at::Tensor& dt, const ScanPlaces& places,
                               const StepContext& step) const {
  RT_CHECK(step.scan, "layer {}: a scan without the shape of its samples", layer_.number);
  const at::ScalarType wide = xbc.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const ScanParameters parameters{conv_weight_->value, conv_bias_->value, -a_log_->value.to(wide).exp(), d_->value,
                                  dt_bias_->value};
  const ScanBytes bytes = bytes_of(xbc, *step.scan);
  const bool goes_back = at::GradMode::is_enabled() && xbc.requires_grad();
  proof_.layer(layer_.number).expected.bytes += bytes.forward + (goes_back ? bytes.backward : 0);
  return context_scan(xbc, dt, parameters, {heads_, options_.head_size, groups_, options_.state_size},
                      scan_way(layer_.transport), *context_group_, step.scan, places);
}

at::Tensor MambaMixer::forward(const LinearInput& x, const StepContext& step) const {
  const bool sp = options_.sequence_parallel;
  const std::int64_t inner = heads_ * options_.head_size;
  const at::Tensor projected = column_parallel_linear(x, LinearWeight(*in_weight_, step.later), {}, tensor_group_, sp);
  const auto [parts, places] = split_joined(projected, {inner, inner + 2 * groups_ * options_.state_size, heads_});
  const at::Tensor &z = parts[0], y = scanned(parts[1], parts[2], {places[1], places[2]}, step);
  const auto norm = [&weight = norm_weight_->value, group = inner / groups_, epsilon = options_.gated_norm_epsilon,
                     place = places[0]](const at::Tensor& in, const at::Tensor& gate) {
    return gated_rms_norm(in, gate, weight, group, epsilon, place);
  };
  std::function<at::Tensor()> again;
  if (!options_.keeps_gated_norm) {
    again = [norm, y = y.detach(), z = z.detach()] {
      const at::NoGradGuard no_grad;
      return norm(y, z);
    };
  }
  return row_parallel_linear({norm(y, z), again}, LinearWeight(*out_weight_, step.later), {}, tensor_group_, sp);
}

}  // namespace ringtron
