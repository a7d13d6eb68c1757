#include "ringtron/context_parallel/context_parallel.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <optional>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/run/run_schedule.h"
#include "ringtron/context_parallel/run/schedule_cache.h"

namespace ringtron {
namespace {

// One attention call, forward and later backward: what autograd keeps of it besides tensors.
class CallState final : public torch::CustomClassHolder {
 public:
  // Collective when the call is of a new kind, see ScheduleCache::prepare.
  CallState(std::shared_ptr<ScheduleCache> cache, AttentionCall call, const at::Tensor& q, const at::Tensor& k,
            const at::Tensor& v)
      : cache_(std::move(cache)),
        call_(std::move(call)),
        prepared_(cache_->prepare(call_, q, k, v)),
        heads_(q.size(2)),
        groups_(k.size(2)),
        sums_(q.options().dtype(accumulate_type(q.scalar_type()))) {
    const AttentionShape shape{q.size(1),
                               heads_,
                               groups_,
                               q.size(3),
                               v.size(3),
                               static_cast<std::int64_t>(q.element_size()),
                               static_cast<std::int64_t>(sums_.dtype().itemsize())};
    bytes_ = bytes_of(prepared_->schedules, prepared_->layout, cache_->rank(), shape);
    samples_ = q.size(1);
  }

  at::Tensor forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, SavedForward& saved) {
    const bool second = call_.saved_kv && call_.saved_kv->filled;
    expect(second ? 0 : bytes_.forward);
    const Counted counted(*this);
    ForwardResult result = run_forward(prepared_->schedules.forward, context(q), q, k, v, call_.saved_kv.get());
    saved = std::move(result.saved);
    return result.out;
  }

  Gradients backward(const SavedForward& saved, const at::Tensor& d_out) {
    expect(bytes_.backward);
    const Counted counted(*this);
    Gradients gradients = run_backward(prepared_->schedules.backward, context(d_out), saved, d_out);
    gradients.d_sink =
        call_.softmax == SoftmaxKind::learnable ? gradients.d_sink.to(call_.sink.scalar_type()) : at::Tensor();
    return gradients;
  }

 private:
  // Adds what is sent while it lives to what the layer has done.
  class Counted {
   public:
    explicit Counted(CallState& state) : state_(state), before_(state.cache_->sent()) {}
    ~Counted() { state_.done().bytes += state_.cache_->sent() - before_; }

   private:
    CallState& state_;
    std::int64_t before_;
  };

  ExchangeCounts& done() { return cache_->proof().layer(call_.layer).done; }
  void expect(std::int64_t bytes) {
    ExchangeCounts& expected = cache_->proof().layer(call_.layer).expected;
    expected.bytes += bytes;
    expected.cells += prepared_->area(samples_) * heads_;
  }

  // `x`: for device and type.
  PassContext context(const at::Tensor& x) {
    const std::vector<HeadShare>& shares = prepared_->schedules.forward.heads;
    const HeadShare& mine = shares[static_cast<std::size_t>(cache_->rank()) % shares.size()];
    const bool drops = call_.dropout && call_.dropout->p > 0.0;
    if (drops) {
      dropout_ = call_.dropout;
      dropout_->head_offset += mine.q.begin;
    }
    PassContext context{cache_->messages(), prepared_->layout, cache_->block(x, drops)};
    context.scale = call_.scale;
    context.dropout = drops ? &*dropout_ : nullptr;
    context.sink = sink_of(mine);
    context.key_head = cache_->key_head(mine, heads_ / groups_, x.device());
    context.heads = heads_;
    context.groups = groups_;
    context.varied_shapes = prepared_->varied_shapes();
    context.cells = &done().cells;
    context.observer = cache_->options().observer;
    return context;
  }

  at::Tensor sink_of(const HeadShare& mine) const {
    switch (call_.softmax) {
      case SoftmaxKind::vanilla:
        return {};
      case SoftmaxKind::off_by_one:
        return at::zeros({mine.q.length()}, sums_);
      case SoftmaxKind::learnable:
        RT_CHECK_EQ(call_.sink.numel(), heads_, "learned softmax sinks, one per query head");
        return call_.sink.detach().narrow(0, mine.q.begin, mine.q.length()).to(sums_);
    }
    return {};
  }

  std::shared_ptr<ScheduleCache> cache_;
  AttentionCall call_;
  std::shared_ptr<const PreparedSchedules> prepared_;
  std::int64_t heads_, groups_, samples_ = 0;
  at::TensorOptions sums_;  // device and accumulate type
  TransportBytes bytes_;
  std::optional<AttentionDropout> dropout_;  // of this rank's share of the heads
};

class CpFunction : public torch::autograd::Function<CpFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const at::Tensor& /*sink*/,
                            const c10::intrusive_ptr<CallState>& state) {
    SavedForward saved;
    at::Tensor out = state->forward(q, k, v, saved);
    ctx->save_for_backward({saved.q, saved.k, saved.v, saved.out, saved.lse});
    ctx->saved_data["state"] = c10::IValue::make_capsule(state);
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& d_out) {
    const auto saved = ctx->get_saved_variables();
    const auto state = c10::static_intrusive_pointer_cast<CallState>(ctx->saved_data["state"].toCapsule());
    const Gradients g = state->backward({saved[0], saved[1], saved[2], saved[3], saved[4]}, d_out[0].contiguous());
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
    const auto state = c10::make_intrusive<CallState>(cache_, call, q, k, v);
    // Autograd wants every tensor to be one.
    const at::Tensor sink = call.sink.defined() ? call.sink : at::empty({0}, q.options());
    return CpFunction::apply(q.contiguous(), k.contiguous(), v.contiguous(), sink, state);
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
