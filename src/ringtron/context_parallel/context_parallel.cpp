#include "ringtron/context_parallel/context_parallel.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/run/attention_run.h"

namespace ringtron {
namespace {

class CpFunction : public torch::autograd::Function<CpFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const at::Tensor& /*sink*/,
                            const c10::intrusive_ptr<AttentionRun>& run) {
    auto [out, saved] = run->forward(q, k, v);
    ctx->save_for_backward({saved.q, saved.k, saved.v, saved.out, saved.lse});
    ctx->saved_data["run"] = c10::IValue::make_capsule(run);
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& d_out) {
    const auto saved = ctx->get_saved_variables();
    const auto run = c10::static_intrusive_pointer_cast<AttentionRun>(ctx->saved_data["run"].toCapsule());
    const Gradients g = run->backward({saved[0], saved[1], saved[2], saved[3], saved[4]}, d_out[0].contiguous());
    return {g.dq, g.dk, g.dv, g.d_sink, at::Tensor()};
  }
};

class CpAttentionOfGroup final : public CpAttention {
 public:
  explicit CpAttentionOfGroup(std::shared_ptr<ScheduleCache> cache) : cache_(std::move(cache)) {}

  at::Tensor forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionCall& call) override {
    RT_CHECK(q.dim() == 4 && k.dim() == 4 && v.dim() == 4 && q.size(3) == k.size(3) && k.size(2) == v.size(2),
             "attention wants q [s, b, n, d], k [s, b, g, d] and v [s, b, g, d_v]");
    RT_CHECK(k.size(2) > 0 && q.size(2) % k.size(2) == 0, "{} query heads do not divide into {} groups", q.size(2),
             k.size(2));
    RT_CHECK(k.scalar_type() == q.scalar_type() && v.scalar_type() == q.scalar_type(), "q, k and v differ in type");
    const auto run = c10::make_intrusive<AttentionRun>(cache_, call, q, k, v);
    // Autograd wants every tensor to be one.
    const at::Tensor sink = call.sink.defined() ? call.sink : at::empty({0}, q.options());
    return CpFunction::apply(q.contiguous(), k.contiguous(), v.contiguous(), sink, run);
  }

  ExchangeProof& proof() override { return cache_->proof(); }

 private:
  std::shared_ptr<ScheduleCache> cache_;
};

}  // namespace

std::unique_ptr<CpAttention> make_cp_attention(Communicator& group, SequenceLayout layout,
                                               const CpAttentionOptions& options) {
  RT_CHECK_EQ(layout.ranks(), group.size(), "ranks of the sequence layout and of group " + group.name());
  return std::make_unique<CpAttentionOfGroup>(std::make_shared<ScheduleCache>(group, std::move(layout), options));
}

}  // namespace ringtron
