// One attend of a plan on tensors: which rows, samples and heads of them it reads, and what its kernel is told.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "ringtron/context_parallel/block_attention.h"
#include "ringtron/context_parallel/part_gradients.h"
#include "ringtron/context_parallel/plan_runner.h"

namespace ringtron::internal {

// Refers to what it was made from.
class AttendCall {
 public:
  // heads, groups: query and key/value heads that this rank attends with. `cut`: of an attend in parts.
  AttendCall(const PlanContext& context, int rank, const Attend& attend, std::int64_t heads, std::int64_t groups, const HeadCut& cut = {});

  const HeadShare& heads() const { return heads_; }
  bool has_heads() const { return !heads_.q.empty(); }
  bool is_part() const { return is_part_; }

  // The sample's part of a tensor whose dim `dim` is the batch.
  at::Tensor of_sample(const at::Tensor& x, int dim) const;
  // Rows of q, or of what is shaped as q is; with all heads, or with those of this attend.
  at::Tensor rows_of_queries(const at::Tensor& q) const;
  at::Tensor queries(const at::Tensor& q) const { return of_heads(rows_of_queries(q), 2, heads_.q); }
  // What the attend wants of the output and its gradient.
  OutputGradient output(const OutputGradient& whole) const;
  // Rows of keys or values, one head for each query head if heads are irregular.
  at::Tensor keys(const at::Tensor& x) const;
  // The inverse for their gradient: [rows, b, heads of x, d].
  at::Tensor key_gradient(const at::Tensor& gradient, std::int64_t heads) const;

  BlockCall block_call() const;
  void count(std::int64_t cells) const;

 private:
  at::Tensor statistic(const at::Tensor& x) const;

  const PlanContext& context_;
  const Attend& attend_;
  HeadShare heads_;
  bool is_part_;
  std::vector<PositionRange> q_positions_, kv_positions_;
  std::optional<AttentionDropout> dropout_;
};

}  // namespace ringtron::internal
