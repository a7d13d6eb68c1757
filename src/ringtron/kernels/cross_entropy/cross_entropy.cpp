#include "ringtron/kernels/cross_entropy/cross_entropy.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "ringtron/kernels/cross_entropy/cross_entropy_params.h"
#include "ringtron/kernels/device/fused.h"

namespace ringtron {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool fused(const at::Tensor& logits) {
  return logits.numel() > 0 && logits.is_contiguous() && logits.size(-1) % 8 == 0 && fused_on_gpu({logits});
}

CrossEntropyShape shape_of(const at::Tensor& logits, const VocabularyPart& part) {
  const std::int64_t width = logits.size(-1);
  return {logits.numel() / width, width, part.real, part.first, *element_of(logits)};
}

// Targets as columns of this rank, and where they are another's.
struct LocalTargets {
  at::Tensor column, foreign;
};

LocalTargets local_targets(const at::Tensor& targets, const VocabularyPart& part) {
  const at::Tensor foreign = at::logical_or(targets < part.first, targets >= part.first + part.real);
  return {(targets - part.first).masked_fill(foreign, 0).unsqueeze(-1), foreign};
}

constexpr std::int64_t kBytesAtATime = std::int64_t{4} << 20;  // of a wide copy

// Plain operations on some rows at a time, so that no wide copy of all logits is made: work(first, count).
template <class Work>
void by_rows(const at::Tensor& logits, Work work) {
  const std::int64_t rows = logits.size(0),
                     most = std::max<std::int64_t>(kBytesAtATime / (8 * std::max<std::int64_t>(logits.size(1), 1)), 1);
  for (std::int64_t first = 0; first < rows; first += most) work(first, std::min(most, rows - first));
}

// logits: [rows, width], targets and results: [rows].
void composed_statistics(const at::Tensor& logits, const at::Tensor& targets, const VocabularyPart& part,
                         const RowStatistics& result) {
  at::Tensor x = logits.to(result.sum.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
  x.narrow(-1, part.real, x.size(-1) - part.real).fill_(-kInfinity);
  const LocalTargets local = local_targets(targets, part);
  const at::Tensor peak = x.amax(-1);
  result.peak.copy_(peak);
  result.predicted.copy_(x.gather(-1, local.column).squeeze(-1).masked_fill(local.foreign, 0));
  // A rank of padding only: -inf less -inf is not a number.
  x.sub_(peak.masked_fill(peak == -kInfinity, 0).unsqueeze(-1));
  result.sum.copy_(x.exp_().sum(-1));
}

void composed_gradient(const at::Tensor& logits, const at::Tensor& targets, const VocabularyPart& part,
                       const at::Tensor& log_sum, const at::Tensor& d_loss, const at::Tensor& d_logits) {
  const at::ScalarType wide = log_sum.scalar_type();
  at::Tensor dx = logits.to(wide, /*non_blocking=*/false, /*copy=*/true).sub_(log_sum.unsqueeze(-1)).exp_();
  dx.narrow(-1, part.real, dx.size(-1) - part.real).zero_();
  const at::Tensor weight = d_loss.to(wide).unsqueeze(-1);
  const LocalTargets local = local_targets(targets, part);
  dx.mul_(weight).scatter_add_(-1, local.column, weight.masked_fill(local.foreign.unsqueeze(-1), 0).neg());
  d_logits.copy_(dx);
}

}  // namespace

RowStatistics cross_entropy_statistics(const at::Tensor& logits, const at::Tensor& targets,
                                       const VocabularyPart& part) {
  const auto options = logits.options().dtype(logits.scalar_type() == at::kDouble ? at::kDouble : at::kFloat);
  RowStatistics result{at::empty(targets.sizes(), options), at::empty(targets.sizes(), options),
                       at::empty(targets.sizes(), options)};
  if (!fused(logits)) {
    const at::Tensor x = logits.flatten(0, -2), ids = targets.flatten();
    by_rows(x, [&](std::int64_t first, std::int64_t count) {
      const auto rows = [&](const at::Tensor& t) { return t.view(-1).narrow(0, first, count); };
      composed_statistics(x.narrow(0, first, count), ids.narrow(0, first, count), part,
                          {rows(result.peak), rows(result.sum), rows(result.predicted)});
    });
    return result;
  }
  const at::Tensor ids = targets.contiguous();
  CrossEntropyForwardParams params{};
  params.shape = shape_of(logits, part);
  params.logits = logits.const_data_ptr();
  params.targets = ids.const_data_ptr<std::int64_t>();
  params.peak = result.peak.mutable_data_ptr<float>();
  params.sum = result.sum.mutable_data_ptr<float>();
  params.predicted = result.predicted.mutable_data_ptr<float>();
  cross_entropy_forward_cuda(params, current_cuda_stream());
  return result;
}

at::Tensor cross_entropy_gradient(const at::Tensor& logits, const at::Tensor& targets, const VocabularyPart& part,
                                  const at::Tensor& log_sum, const at::Tensor& d_loss, bool in_place) {
  // A tensor of its own over the same memory: nobody's version of the logits counts this as a change.
  at::Tensor dx = in_place && logits.is_contiguous() ? logits.detach() : at::empty(logits.sizes(), logits.options());
  if (!fused(logits)) {
    const at::Tensor x = logits.flatten(0, -2), ids = targets.flatten(), sums = log_sum.flatten(),
                     weights = d_loss.flatten();
    by_rows(x, [&](std::int64_t first, std::int64_t count) {
      const auto rows = [&](const at::Tensor& t) { return t.narrow(0, first, count); };
      composed_gradient(rows(x), rows(ids), part, rows(sums), rows(weights), rows(dx.view(x.sizes())));
    });
    return dx;
  }
  const at::Tensor ids = targets.contiguous(), logarithm = log_sum.contiguous(),
                   weight = d_loss.to(at::kFloat).contiguous();
  CrossEntropyBackwardParams params{};
  params.shape = shape_of(logits, part);
  params.logits = logits.const_data_ptr();
  params.targets = ids.const_data_ptr<std::int64_t>();
  params.log_sum = logarithm.const_data_ptr<float>();
  params.d_loss = weight.const_data_ptr<float>();
  params.d_logits = dx.mutable_data_ptr();
  cross_entropy_backward_cuda(params, current_cuda_stream());
  return dx;
}

}  // namespace ringtron
