#include "ringtron/tensor_parallel/vocab_parallel_cross_entropy.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "ringtron/base/check.h"

namespace ringtron {

CrossEntropy vocab_parallel_cross_entropy(const at::Tensor& logits, const at::Tensor& targets, std::int64_t vocab_size,
                                          Communicator& group) {
  RT_CHECK(logits.dim() == 3 && targets.sizes() == logits.sizes().slice(0, 2),
           "cross entropy: expected logits [s, b, V/tp] and targets [s, b], got [{}] and [{}]",
           fmt::join(logits.sizes(), ", "), fmt::join(targets.sizes(), ", "));
  RT_CHECK(vocab_size > 0 && vocab_size <= logits.size(-1) * group.size(),
           "cross entropy: expected a vocabulary of 1 to {} ids, which the {} group's logits hold, got {}",
           logits.size(-1) * group.size(), group.name(), vocab_size);
  const std::int64_t width = logits.size(-1), first = width * group.rank();
  const VocabularyPart part{first, std::clamp<std::int64_t>(vocab_size - first, 0, width)};
  const RowStatistics own = cross_entropy_statistics(logits, targets, part);
  // A rank may hold padding only; the maximum of the group is finite all the same.
  at::Tensor peak = own.peak;
  if (group.size() > 1) {
    peak = own.peak.clone();
    group.all_reduce(peak, ReduceOp::max).wait();
  }
  const at::Tensor foreign = at::logical_or(targets < part.first, targets >= part.first + part.real);
  at::Tensor sums = at::stack({(own.predicted - peak).masked_fill(foreign, 0), own.sum * (own.peak - peak).exp()});
  group.all_reduce(sums).wait();
  const at::Tensor log_total = sums.select(0, 1).log();
  return {log_total - sums.select(0, 0), log_total + peak, part};
}

}  // namespace ringtron
