// What the runs of both passes share: buffers, messages, and what a kernel is told of one launch.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "ringtron/context_parallel/run/run_schedule.h"
#include "ringtron/context_parallel/run/ulysses_all_to_all.h"
#include "ringtron/context_parallel/schedule/varlen_batches.h"
#include "ringtron/kernels/copy_rows/copy_rows.h"

namespace ringtron::internal {

inline at::Tensor narrowed(const at::Tensor& x, const PositionRange& rows) {
  return x.narrow(0, rows.begin, rows.length());
}

// Tells a RunObserver, if there is one, that something begins here and ends with the scope.
class Observed {
 public:
  // `step` of the plan; -1: outside it.
  Observed(RunObserver* observer, std::string_view what, int step = -1) : observer_(observer) {
    if (observer_ != nullptr) observer_->begin(what, step);
  }
  ~Observed() {
    if (observer_ != nullptr) observer_->end();
  }
  Observed(const Observed&) = delete;
  Observed& operator=(const Observed&) = delete;

 private:
  RunObserver* observer_;
};

class PassRun {
 public:
  PassRun(const Schedule& schedule, const PassContext& context)
      : schedule_(schedule),
        context_(context),
        exchange_of_heads_(context.group, context.layout, schedule.layout, schedule.heads),
        buffers_(schedule.buffers.size()) {}

 protected:
  template <class Run>
  void run_all(Run& pass, bool with_messages = true) {
    for (const Operation& operation : schedule_.operations) {
      if (!with_messages && is_of_messages(operation)) continue;
      step_ = operation.step;
      std::visit([&](const auto& what) { pass.run(what); }, operation.what);
    }
  }

  Observed observed(const char* what) const { return Observed(context_.observer, what, step_); }
  KeyValue& buffer(int number) { return buffers_.at(static_cast<std::size_t>(number)); }
  bool holds_sums(int number) const { return schedule_.buffer(number).content == Payload::key_value_gradient; }

  // `rows_of`: of a transfer, what is sent. Rooms for what arrives are shaped as `like`.
  template <class RowsOf>
  void start(const Exchange& exchange, RowsOf rows_of, const KeyValue& like) {
    const Observed starting = observed("start messages");
    std::vector<Send> sends;
    std::vector<Receive> receives;
    for (const Transfer& transfer : exchange.sends) add_messages(transfer.peer, rows_of(transfer), sends);
    for (const Transfer& transfer : exchange.receives) {
      KeyValue& into = buffer(transfer.buffer);
      const at::ScalarType type = like.k.scalar_type();
      if (!into.k.defined()) {
        into = room(like, schedule_.buffer(transfer.buffer).length(),
                    holds_sums(transfer.buffer) ? accumulate_type(type) : type);
      }
      add_messages(transfer.peer, packed(into, transfer.rows), receives);
    }
    Work work = context_.group.exchange(sends, receives);
    under_way_.push_back({std::move(work), std::move(sends)});
  }
  KeyValue room(const KeyValue& like, std::int64_t rows, at::ScalarType type) const {
    const auto sized = [&](const at::Tensor& x) {
      return at::empty({rows, x.size(1), x.size(2), x.size(3)}, x.options().dtype(type));
    };
    return {sized(like.k), sized(like.v)};
  }
  // Keys and values to their places.
  void copy(const MoveRows& move) {
    const KeyValue& from = buffer(move.from);
    KeyValue& to = buffer(move.to);
    if (!to.k.defined()) to = room(from, schedule_.buffer(move.to).length(), from.k.scalar_type());
    std::vector<RowCopy> copies;
    for (const RowMove& rows : move.moves) {
      const PositionRange places{rows.to, rows.to + rows.from.length()};
      copies.push_back({narrowed(to.k, places), narrowed(from.k, rows.from)});
      copies.push_back({narrowed(to.v, places), narrowed(from.v, rows.from)});
    }
    copy_rows(copies);
  }
  // Rows of a block one below another; a view of a single range.
  static KeyValue packed(const KeyValue& block, const std::vector<PositionRange>& rows) {
    if (rows.size() == 1) return {narrowed(block.k, rows.front()), narrowed(block.v, rows.front())};
    std::vector<at::Tensor> k, v;
    for (const PositionRange& range : rows) {
      k.push_back(narrowed(block.k, range));
      v.push_back(narrowed(block.v, range));
    }
    return {at::cat(k), at::cat(v)};
  }
  // A rank without heads has messages of no elements; its peers have none either.
  template <class Message>
  static void add_messages(int peer, const KeyValue& rows, std::vector<Message>& messages) {
    for (const at::Tensor& x : {rows.k, rows.v}) {
      if (x.numel() > 0) messages.push_back({peer, x});
    }
  }
  void wait_for(const Wait& wait) {
    const Observed waiting = observed("wait");
    UnderWay& exchange = under_way_.at(static_cast<std::size_t>(wait.exchange));
    exchange.work.wait();
    exchange.sends.clear();
  }

  // Of one launch: the rows, samples and heads that its kernel reads.
  at::Tensor of_sample(const at::Tensor& x, const Launch& launch, int dim) const {
    return launch.sample == kAllSamples ? x : x.narrow(dim, launch.sample, 1);
  }
  at::Tensor queries(const at::Tensor& x, const Launch& launch) const {
    return of_sample(narrowed(x, launch.q), launch, 1);
  }
  at::Tensor statistic(const at::Tensor& x, const Launch& launch) const {  // [b, n, rows]
    return x.defined() ? of_sample(x.narrow(2, launch.q.begin, launch.q.length()), launch, 0) : x;
  }
  // One head for each query head where heads are irregular.
  at::Tensor keys(const at::Tensor& x, const Launch& launch) const {
    const at::Tensor rows = of_sample(narrowed(x, launch.kv), launch, 1);
    return context_.key_head.defined() ? rows.index_select(2, context_.key_head) : rows;
  }
  // What a kernel is told of a launch; lives as long as the kernel's call.
  struct LaunchArguments {
    BlockCall call;
    std::vector<PositionRange> q_positions, kv_positions;
    std::optional<AttentionDropout> dropout;
  };
  void prepare(LaunchArguments& kernel, const Launch& launch) const {
    kernel.call.scale = context_.scale;
    kernel.call.band = launch.band;
    kernel.call.varied_shapes = context_.varied_shapes;
    if (context_.dropout == nullptr) return;
    kernel.dropout = *context_.dropout;
    if (launch.sample != kAllSamples)
      kernel.dropout->sample_numbers = {context_.dropout->sample_numbers.at(static_cast<std::size_t>(launch.sample))};
    kernel.q_positions = slice_ranges(schedule_.layout.of(schedule_.rank), launch.q.begin, launch.q.length());
    kernel.kv_positions = positions_of(schedule_, launch.buffer, launch.kv);
    kernel.call.dropout = &*kernel.dropout;
    kernel.call.q_positions = kernel.q_positions;
    kernel.call.kv_positions = kernel.kv_positions;
  }
  // Taken from the sizes of what the kernel got.
  void count(const Launch& launch, const at::Tensor& q, const at::Tensor& k) const {
    if (context_.cells == nullptr) return;
    const std::int64_t cells =
        launch.batch ? launch.batch->cells(q.size(1)) : launch.band.area(q.size(0), k.size(0)) * q.size(1);
    *context_.cells += cells * q.size(2);
  }

  const HeadShare& own_heads() const {
    return schedule_.heads.at(static_cast<std::size_t>(context_.group.rank()) % schedule_.heads.size());
  }

  struct UnderWay {
    Work work;
    std::vector<Send> sends;  // kept until they have been sent
  };

  const Schedule& schedule_;
  const PassContext& context_;
  UlyssesAllToAll exchange_of_heads_;
  std::vector<KeyValue> buffers_;
  std::vector<UnderWay> under_way_;
  int step_ = -1;
};

}  // namespace ringtron::internal
