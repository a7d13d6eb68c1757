// A backward, operation by operation.
#include <ATen/ATen.h>

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

// The sums of gradients of one buffer.
struct KeyValueSums {
  RowAccumulator k, v;
};

class BackwardRun : PassRun {
 public:
  BackwardRun(const Schedule& schedule, const PassContext& context, const SavedForward& saved, const at::Tensor& d_out)
      : PassRun(schedule, context),
        saved_(saved),
        type_(d_out.scalar_type()),
        sum_type_(accumulate_type(type_)),
        like_{narrowed(saved.k, {0, 0}), narrowed(saved.v, {0, 0})},
        dq_(RowAccumulator::Kind::sum, saved.q, saved.q.size(0), sum_type_),
        sums_(schedule.buffers.size()) {
    buffer(schedule.given) = {saved.k, saved.v};
    output_ = {d_out, saved.out, saved.lse, {}};
    if (schedule.heads.size() == 1) find_delta();
  }

  Gradients run() {
    run_all(*this);
    if (!gradients_.dq.defined()) finish(type_);
    return std::move(gradients_);
  }

  void run(const Exchange& exchange) {
    start(exchange, [&](const Transfer& t) { return rows_of(t.buffer, t.rows); }, like_);
  }
  void run(const Wait& wait) { wait_for(wait); }
  void run(const Launch& launch) {
    results_.push_back({&launch, {}});
    if (saved_.q.size(2) == 0) return;
    const Observed attending = observed("attend");
    const KeyValue& block = buffer(launch.buffer);
    const at::Tensor q = queries(saved_.q, launch), k = keys(block.k, launch), v = keys(block.v, launch);
    const OutputGradient output{queries(output_.d_out, launch), queries(output_.out, launch),
                                statistic(output_.lse, launch).contiguous(), statistic(output_.delta, launch)};
    LaunchArguments kernel;
    prepare(kernel, launch);
    results_.back().second = launch.batch
                                 ? context_.block.varlen()->backward(q, k, v, output, launch.batch, context_.scale)
                                 : context_.block.backward(q, k, v, output, kernel.call);
    count(launch, q, k);
  }
  void run(const Merge& merge) {
    if (saved_.q.size(2) == 0) return;
    const Observed merging = observed("merge");
    const auto [launch, gradient] = std::exchange(results_.at(static_cast<std::size_t>(merge.launch)), {});
    dq_.add(launch->q, launch->sample, gradient.dq);
    sums(merge.gradient).k.add(merge.rows, launch->sample, of_key_heads(gradient.dk));
    sums(merge.gradient).v.add(merge.rows, launch->sample, of_key_heads(gradient.dv));
  }
  void run(const MoveRows& move) {
    if (!holds_sums(move.to)) return copy(move);
    std::vector<PositionRange> ranges;
    for (const RowMove& rows : move.moves) ranges.push_back(rows.from);
    const KeyValue all = rows_of(move.from, ranges);
    std::int64_t row = 0;
    for (std::size_t i = 0; i < move.moves.size();) {
      // Neighbours go together.
      std::int64_t length = move.moves[i].from.length();
      const std::int64_t to = move.moves[i].to;
      for (++i; i < move.moves.size() && move.moves[i].to == to + length; ++i) length += move.moves[i].from.length();
      sums(move.to).k.add({to, to + length}, -1, narrowed(all.k, {row, row + length}));
      sums(move.to).v.add({to, to + length}, -1, narrowed(all.v, {row, row + length}));
      row += length;
    }
  }
  void run(const Release& release) {
    buffer(release.buffer) = {};
    sums_[static_cast<std::size_t>(release.buffer)].reset();
  }
  void run(const HeadExchange& exchange) {
    if (exchange.to_heads) {
      const Observed exchanging = observed("to heads");
      rows_before_ = output_.d_out.size(0);
      output_.d_out = exchange_of_heads_.to_heads({{output_.d_out, HeadKind::query}}).front();
      return find_delta();
    }
    // A key/value head of one rank only is rounded once, at the end of all sums, so it may travel in the model's type.
    const bool replicated = heads_are_replicated(schedule_.heads);
    finish(replicated ? sum_type_ : type_);
    const Observed exchanging = observed("to sequence");
    const auto whole = [&](const at::Tensor& x, std::int64_t heads) {
      const at::Tensor result = at::empty({rows_before_, x.size(1), heads, x.size(3)}, x.options());
      if (replicated) result.zero_();  // heads of several ranks are added up
      return result;
    };
    const Gradients mine = gradients_;
    gradients_ = {whole(mine.dq, context_.heads), whole(mine.dk, context_.groups), whole(mine.dv, context_.groups),
                  mine.d_sink};
    exchange_of_heads_.to_sequence(
        {{mine.dq, HeadKind::query}, {mine.dk, HeadKind::key_value}, {mine.dv, HeadKind::key_value}},
        {gradients_.dq, gradients_.dk, gradients_.dv});
    gradients_.dk = gradients_.dk.to(type_);
    gradients_.dv = gradients_.dv.to(type_);
  }

 private:
  KeyValueSums& sums(int number) {
    auto& sums = sums_.at(static_cast<std::size_t>(number));
    const std::int64_t rows = schedule_.buffer(number).length();
    if (!sums) {
      sums.emplace(KeyValueSums{RowAccumulator(RowAccumulator::Kind::sum, like_.k, rows, sum_type_),
                                RowAccumulator(RowAccumulator::Kind::sum, like_.v, rows, sum_type_)});
    }
    return *sums;
  }
  // Of what was given or has arrived, or of sums.
  KeyValue rows_of(int number, const std::vector<PositionRange>& rows) {
    const KeyValue& block = buffer(number);
    if (block.k.defined()) return packed(block, rows);
    return {sums(number).k.rows(rows), sums(number).v.rows(rows)};
  }
  // The inverse of keys().
  at::Tensor of_key_heads(const at::Tensor& gradient) const {
    if (!context_.key_head.defined()) return gradient;
    const at::Tensor sum = at::zeros({gradient.size(0), gradient.size(1), like_.k.size(2), gradient.size(3)},
                                     gradient.options().dtype(sum_type_));
    return sum.index_add_(2, context_.key_head, gradient.to(sum_type_));
  }
  void find_delta() {
    if (!context_.block.wants_delta() && !context_.sink.defined()) return;
    output_.delta = row_sums(output_.d_out, output_.out).contiguous();
  }
  void finish(at::ScalarType key_value_type) {
    gradients_.dq = dq_.result(type_).x;
    gradients_.dk = sums(schedule_.result).k.result(key_value_type).x;
    gradients_.dv = sums(schedule_.result).v.result(key_value_type).x;
    if (!context_.sink.defined()) return;
    const at::Tensor p = (context_.sink.view({1, -1, 1}) - saved_.lse).exp();
    gradients_.d_sink = at::zeros({context_.heads}, context_.sink.options());
    gradients_.d_sink.narrow(0, own_heads().q.begin, own_heads().q.length())
        .copy_(-(p * output_.delta).sum(at::IntArrayRef{0, 2}));
  }

  const SavedForward& saved_;
  at::ScalarType type_, sum_type_;
  KeyValue like_;  // no rows
  OutputGradient output_;
  std::int64_t rows_before_ = 0;                                  // of this rank, before heads were exchanged
  std::vector<std::pair<const Launch*, BlockGradient>> results_;  // by number of the launch, until they are merged
  RowAccumulator dq_;
  std::vector<std::optional<KeyValueSums>> sums_;
  Gradients gradients_;
};

}  // namespace

Gradients run_backward(const Schedule& schedule, const PassContext& context, const SavedForward& saved,
                       const at::Tensor& d_out) {
  return BackwardRun(schedule, context, saved, d_out).run();
}

}  // namespace ringtron
