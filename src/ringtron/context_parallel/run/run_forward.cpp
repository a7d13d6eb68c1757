// A forward, operation by operation.
#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/block/row_accumulator.h"
#include "ringtron/context_parallel/block/varlen_attention.h"
#include "ringtron/context_parallel/run/pass_run.h"

namespace ringtron {
namespace {

using internal::narrowed;
using internal::Observed;
using internal::PassRun;

class ForwardRun : PassRun {
 public:
  ForwardRun(const Schedule& schedule, const PassContext& context, const at::Tensor& q, const at::Tensor& k,
             const at::Tensor& v)
      : PassRun(schedule, context), q_(q), type_(q.scalar_type()) {
    begin_with({k, v});
  }

  void keep_received() { keeps_ = true; }
  void use(SavedKv& saved) {
    for (const auto& [number, block] : saved.buffers) {
      if (number == schedule_.given) begin_with(block);
      buffer(number) = block;
    }
    if (saved.q.defined()) q_ = saved.q;
    with_messages_ = false;
  }

  ForwardResult run() {
    run_all(*this, with_messages_);
    finish();
    const KeyValue& last = buffer(schedule_.saved);
    // No message comes for a block without rows.
    const KeyValue saved = last.k.defined() ? last : room(like_, 0, type_);
    return {exchanged_out_.defined() ? exchanged_out_ : out_, {q_, saved.k, saved.v, out_, lse_}};
  }
  void put_into(SavedKv& saved) {
    saved.buffers = std::move(kept_);
    saved.filled = true;
    if (!exchanged_out_.defined()) return;
    saved.q = q_;
    saved.buffers[schedule_.given] = given_;
    saved.out = exchanged_out_.detach();
  }

  void run(const Exchange& exchange) {
    for (const Transfer& transfer : exchange.receives) received_.push_back(transfer.buffer);
    start(exchange, [&](const Transfer& t) { return packed(buffer(t.buffer), t.rows); }, like_);
  }
  void run(const Wait& wait) { wait_for(wait); }
  void run(const Launch& launch) {
    results_.push_back({&launch, {}});
    if (q_.size(2) == 0) return;
    const Observed attending = observed("attend");
    const KeyValue& block = buffer(launch.buffer);
    const at::Tensor q = queries(q_, launch), k = keys(block.k, launch), v = keys(block.v, launch);
    LaunchArguments kernel;
    prepare(kernel, launch);
    results_.back().second = launch.batch ? context_.block.varlen()->forward(q, k, v, launch.batch, context_.scale)
                                          : context_.block.forward(q, k, v, kernel.call);
    count(launch, q, k);
  }
  void run(const Merge& merge) {
    if (q_.size(2) == 0) return;
    const Observed merging = observed("merge");
    const auto [launch, result] = std::exchange(results_.at(static_cast<std::size_t>(merge.launch)), {});
    accumulator().add(launch->q, launch->sample, result.out, result.lse);
  }
  void run(const MoveRows& move) {
    copy(move);
    received_.push_back(move.to);
  }
  void run(const Release& release) {
    keep(release.buffer);
    buffer(release.buffer) = {};
  }
  void run(const HeadExchange& exchange) {
    if (exchange.to_heads) {
      const Observed exchanging = observed("to heads");
      const KeyValue own = buffer(schedule_.given);
      const std::vector<at::Tensor> mine = exchange_of_heads_.to_heads(
          {{q_, HeadKind::query}, {own.k, HeadKind::key_value}, {own.v, HeadKind::key_value}});
      q_ = mine[0];
      rows_before_ = own.k.size(0);
      begin_with({mine[1], mine[2]});
      if (keeps_) given_ = {mine[1], mine[2]};
      return;
    }
    finish();
    const Observed exchanging = observed("to sequence");
    exchanged_out_ = at::empty({rows_before_, out_.size(1), context_.heads, out_.size(3)}, out_.options());
    exchange_of_heads_.to_sequence({{out_, HeadKind::query}}, {exchanged_out_});
  }

 private:
  RowAccumulator& accumulator() {
    if (!accumulator_) {
      const at::Tensor& v = like_.v;
      const at::Tensor like = at::empty({0, q_.size(1), q_.size(2), v.size(3)}, q_.options());
      accumulator_.emplace(RowAccumulator::Kind::softmax, like, q_.size(0), accumulate_type(type_));
    }
    return *accumulator_;
  }
  void begin_with(const KeyValue& block) {
    buffer(schedule_.given) = block;
    like_ = {narrowed(block.k, {0, 0}), narrowed(block.v, {0, 0})};
  }
  void finish() {
    if (out_.defined()) return;
    for (const int number : received_) keep(number);
    if (context_.sink.defined()) accumulator().add_sink(context_.sink);
    const RowAccumulator::Result result = accumulator().result(type_);
    out_ = result.x;
    lse_ = result.lse;
  }
  // For a second call.
  void keep(int number) {
    const bool received = std::ranges::find(received_, number) != received_.end();
    if (keeps_ && received && buffer(number).k.defined()) kept_[number] = buffer(number);
  }

  at::Tensor q_;
  at::ScalarType type_;
  KeyValue like_;                 // no rows
  KeyValue given_;                // as it came out of the exchange to heads, for a second call
  std::int64_t rows_before_ = 0;  // of this rank, before heads were exchanged
  std::vector<std::pair<const Launch*, BlockResult>> results_;  // by number of the launch, until they are merged
  std::optional<RowAccumulator> accumulator_;
  at::Tensor out_, lse_, exchanged_out_;
  bool keeps_ = false, with_messages_ = true;
  std::vector<int> received_;
  std::map<int, KeyValue> kept_;
};

}  // namespace

ForwardResult run_forward(const Schedule& schedule, const PassContext& context, const at::Tensor& q,
                          const at::Tensor& k, const at::Tensor& v, SavedKv* saved_kv) {
  const std::int64_t rows = context.layout.local_length(context.group.rank());
  RT_CHECK(q.size(0) == rows && k.size(0) == rows && v.size(0) == rows,
           "a rank with {} rows of the sequence layout got {} of q, {} of k, {} of v", rows, q.size(0), k.size(0),
           v.size(0));
  RT_CHECK_EQ(q.size(1), k.size(1), "samples of q and k");
  ForwardRun run(schedule, context, q, k, v);
  if (saved_kv != nullptr && saved_kv->filled) {
    run.use(*saved_kv);
    ForwardResult result = run.run();
    if (saved_kv->out.defined()) result.out = saved_kv->out;
    saved_kv->clear();
    return result;
  }
  if (saved_kv != nullptr) run.keep_received();
  ForwardResult result = run.run();
  if (saved_kv != nullptr) run.put_into(*saved_kv);
  return result;
}

}  // namespace ringtron
