#include "ringtron/context_parallel/schedule/lower.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/context_parallel/schedule/varlen_batches.h"

namespace ringtron {
namespace {

bool contains(const PositionRange& outer, const PositionRange& inner) {
  return outer.begin <= inner.begin && inner.end <= outer.end;
}

// Where rows of the owner's block lie in the buffer; none if not all of them are in one of its ranges.
std::optional<PositionRange> find_rows(const Buffer& buffer, const PositionRange& rows) {
  for (const StoredRange& range : stored_ranges(buffer.rows)) {
    if (contains(range.positions, rows)) return range.rows_of(rows);
  }
  return {};
}

struct Place {
  int buffer = -1;
  PositionRange rows;
};

// One pass, step by step.
class Lowering {
 public:
  Lowering(const ExchangePlan& plan, const SequenceLayout& layout, Pass pass, int saved_owner, bool varlen)
      : plan_(plan), saved_owner_(saved_owner), varlen_(varlen), in_place_(plan.gathers && layout.few_ranges()) {
    out_.pass = pass;
    out_.rank = plan.rank;
    out_.layout = layout;
  }

  Schedule run() {
    begin();
    for (step_ = 0; step_ < static_cast<int>(plan_.steps.size()); ++step_)
      lower_step(plan_.steps[static_cast<std::size_t>(step_)]);
    end();
    return std::move(out_);
  }

 private:
  bool backward() const { return out_.pass == Pass::backward; }
  PositionRange block_of(int owner) const { return {0, out_.layout.local_length(owner)}; }

  template <class What>
  void add(What what) {
    out_.operations.push_back({step_, std::move(what)});
  }

  int new_buffer(Payload content, int owner, std::vector<PositionRange> rows) {
    out_.buffers.push_back({content, owner, std::move(rows)});
    return static_cast<int>(out_.buffers.size()) - 1;
  }
  void release(int number) { add(Release{number}); }

  void begin() {
    step_ = -1;
    const int owner = backward() ? saved_owner_ : plan_.rank;
    out_.buffers.push_back({Payload::key_value, owner, {block_of(owner)}});
    held_[owner].push_back(out_.given);
    find_last_uses();
    if (backward()) out_.result = gradient_of(Buffer{Payload::key_value, plan_.rank, {block_of(plan_.rank)}});
    if (!plan_.gathers) return;
    whole_ = new_buffer(Payload::key_value, kWholeSequence, {{0, out_.layout.sequence_length()}});
    held_[kWholeSequence].push_back(whole_);
    if (varlen_ || reads_own_positions()) put_in_sequence_order(out_.given);
  }

  void find_last_uses() {
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      for (const BlockTask& task : plan_.steps[i].tasks) last_use_[task.owner] = static_cast<int>(i);
      for (const Message& message : plan_.steps[i].sends) {
        if (message.payload == Payload::key_value) last_use_[message.owner] = static_cast<int>(i);
      }
    }
  }

  bool reads_own_positions() const {
    for (const Step& step : plan_.steps) {
      for (const BlockTask& task : step.tasks) {
        if (task.owner != kWholeSequence) continue;
        for (const PositionRange& range : out_.layout.of(plan_.rank)) {
          if (!intersection(range, task.kv).empty()) return true;
        }
      }
    }
    return false;
  }

  // The buffer of keys and values that holds these rows of an owner's block.
  Place held(int owner, const PositionRange& rows) const {
    const auto buffers = held_.find(owner);
    if (buffers != held_.end()) {
      for (const int number : buffers->second) {
        if (const auto found = find_rows(out_.buffer(number), rows)) return {number, *found};
      }
    }
    RT_CHECK(false, "a plan needs rows {}-{} of the block of context-parallel rank {}, which are not held", rows.begin,
             rows.end, owner);
  }

  // The sums of gradients that belong to a buffer of keys and values, made when first asked for.
  int gradient_of(const Buffer& key_value) {
    Buffer wanted = key_value;
    wanted.content = Payload::key_value_gradient;
    for (const int number : sums_) {
      if (out_.buffer(number) == wanted) return number;
    }
    sums_.push_back(new_buffer(wanted.content, wanted.owner, wanted.rows));
    return sums_.back();
  }

  void put_in_sequence_order(int from) {
    MoveRows move{from, whole_, {}};
    for (const StoredRange& range : stored_ranges(positions_of(out_, from, {0, out_.buffer(from).length()})))
      move.moves.push_back({range.rows(), range.positions.begin});
    if (!move.moves.empty()) add(std::move(move));
  }

  // Messages of one payload and owner between two ranks travel together.
  struct Between {
    int peer;
    Payload payload;
    int owner;
    auto operator<=>(const Between&) const = default;
  };
  using Grouped = std::map<Between, std::vector<PositionRange>>;
  static Grouped grouped(const std::vector<Message>& messages) {
    Grouped groups;
    for (const Message& m : messages) groups[{m.peer, m.payload, m.owner}].push_back(m.rows);
    return groups;
  }

  // Rows of a block that are neighbours in the sequence, each by itself.
  std::vector<PositionRange> parts_of(int owner, const PositionRange& rows) const {
    std::vector<PositionRange> parts;
    for (const StoredRange& range : stored_ranges(positions_of(out_.layout, owner, rows)))
      parts.push_back({rows.begin + range.rows().begin, rows.begin + range.rows().end});
    return parts;
  }

  void add_sends(const Step& step, Exchange& exchange, std::vector<int>& sent_sums) {
    for (const auto& [between, rows] : grouped(step.sends)) {
      const auto& [peer, payload, owner] = between;
      if (payload == Payload::key_value_gradient) {
        exchange.sends.push_back(sums_to_send(peer, owner, rows, sent_sums));
        continue;
      }
      Transfer transfer{peer, -1, {}};
      for (const PositionRange& range : rows) {
        for (const PositionRange& part : in_place_ ? parts_of(owner, range) : std::vector{range}) {
          const Place place = held(owner, part);
          if (in_place_) {
            exchange.sends.push_back({peer, place.buffer, {place.rows}});
          } else {
            RT_CHECK(transfer.buffer < 0 || transfer.buffer == place.buffer,
                     "rows of one block to one rank lie in several buffers");
            transfer.buffer = place.buffer;
            transfer.rows.push_back(place.rows);
          }
        }
      }
      if (!in_place_) exchange.sends.push_back(std::move(transfer));
    }
  }

  // Sums of an owner's rows: those of the buffer that these came in, or of the whole sequence.
  Transfer sums_to_send(int peer, int owner, const std::vector<PositionRange>& rows, std::vector<int>& sent) {
    for (const int number : sums_) {
      const Buffer& buffer = out_.buffer(number);
      if (buffer.owner == owner && buffer.rows == rows) {
        sent.push_back(number);
        return {peer, number, {{0, buffer.length()}}};
      }
    }
    if (whole_sums_ >= 0) {
      Transfer transfer{peer, whole_sums_, {}};
      for (const PositionRange& range : rows) {
        for (const PositionRange& positions : positions_of(out_.layout, owner, range))
          transfer.rows.push_back(positions);
      }
      return transfer;
    }
    // Nothing was computed with these rows: zeros.
    const int number = gradient_of({Payload::key_value, owner, rows});
    sent.push_back(number);
    return {peer, number, {{0, out_.buffer(number).length()}}};
  }

  // What arrived and is to be put in place once it is there.
  void add_receives(const Step& step, Exchange& exchange, std::vector<int>& arrived) {
    for (const auto& [between, rows] : grouped(step.receives)) {
      const auto& [peer, payload, owner] = between;
      if (payload == Payload::key_value && in_place_) {
        for (const PositionRange& range : rows) {
          for (const PositionRange& part : parts_of(owner, range)) {
            exchange.receives.push_back({peer, whole_, positions_of(out_.layout, owner, part)});
          }
        }
        continue;
      }
      const int number = new_buffer(payload, owner, rows);
      exchange.receives.push_back({peer, number, {{0, out_.buffer(number).length()}}});
      arrived.push_back(number);
    }
  }

  void lower_step(const Step& step) {
    std::vector<int> sent_sums, arrived;
    if (step.communicates) {
      Exchange exchange;
      add_sends(step, exchange, sent_sums);
      for (const int number : sent_sums) std::erase(sums_, number);
      add_receives(step, exchange, arrived);
      add(std::move(exchange));
    }
    launch_all(step);
    if (step.communicates) {
      add(Wait{exchanges_++});
      for (const int number : sent_sums) release(number);
      for (const int number : arrived) put_away(number);
    }
    release_unused();
  }

  void launch_all(const Step& step) {
    std::vector<Launch> launches;
    for (const BlockTask& task : step.tasks) {
      const Place place = held(task.owner, task.kv);
      launches.push_back({task.q, place.buffer, place.rows, task.band, task.sample});
    }
    if (varlen_) launches = batched(launches);
    for (Launch& launch : launches) {
      Merge merge{launches_++};
      if (backward()) {
        merge.gradient = gradient_of(out_.buffer(launch.buffer));
        merge.rows = launch.kv;
        if (launch.buffer == whole_) whole_sums_ = merge.gradient;
      }
      add(std::move(launch));
      add(merge);
    }
  }

  void put_away(int number) {
    const Buffer buffer = out_.buffer(number);
    if (buffer.content == Payload::key_value_gradient) {
      add_sums(number, buffer);
    } else if (whole_ >= 0) {
      put_in_sequence_order(number);
      release(number);
    } else {
      held_[buffer.owner].push_back(number);
    }
  }

  // To the sums of this rank's own rows, or those that travel on.
  void add_sums(int number, const Buffer& buffer) {
    const bool own = buffer.owner == plan_.rank;
    MoveRows move{number, own ? out_.result : gradient_of(buffer), {}};
    for (const StoredRange& range : stored_ranges(buffer.rows))
      move.moves.push_back({range.rows(), own ? range.positions.begin : range.first_row});
    add(std::move(move));
    release(number);
  }

  // Blocks that no later step reads or sends on.
  void release_unused() {
    if (step_ + 1 == static_cast<int>(plan_.steps.size())) return;
    for (auto& [owner, buffers] : held_) {
      const auto use = last_use_.find(owner);
      const bool unused = use == last_use_.end() || use->second <= step_;
      const bool kept = !backward() && owner == saved_owner_;
      if (!unused || kept) continue;
      for (const int number : buffers) release(number);
      buffers.clear();
    }
  }

  void end() {
    if (backward()) {
      if (whole_sums_ < 0) return;
      MoveRows move{whole_sums_, out_.result, {}};
      for (const StoredRange& range : stored_ranges(out_.layout.of(plan_.rank)))
        move.moves.push_back({range.positions, range.first_row});
      if (!move.moves.empty()) add(std::move(move));
      return;
    }
    if (saved_owner_ == plan_.rank) return;
    // No message comes for a block without rows.
    const auto last = held_.find(saved_owner_);
    out_.saved = last != held_.end() && !last->second.empty() ? last->second.back()
                                                              : new_buffer(Payload::key_value, saved_owner_, {});
  }

  const ExchangePlan& plan_;
  const int saved_owner_;
  const bool varlen_;
  const bool in_place_;  // rows of a gather arrive where they belong, each range by itself
  Schedule out_{Pass::forward, 0, SequenceLayout("", {{}}), {}, 0, 0, -1, {}, {}, {}};
  int step_ = -1, exchanges_ = 0, launches_ = 0;
  int whole_ = -1, whole_sums_ = -1;      // of the whole sequence; -1: none
  std::map<int, std::vector<int>> held_;  // buffers of keys and values, by owner
  std::vector<int> sums_;                 // buffers of gradients
  std::map<int, int> last_use_;           // step, by owner
};

// A buffer is in memory from its first use to its release.
class Memory {
 public:
  explicit Memory(const Schedule& schedule) : schedule_(schedule), held_(schedule.buffers.size(), 0) {}

  PeakRows peak() {
    for (const Operation& operation : schedule_.operations) {
      std::visit([&](const auto& what) { run(what); }, operation.what);
    }
    if (schedule_.result >= 0) hold(schedule_.result);
    return peak_;
  }

 private:
  void run(const Exchange& exchange) {
    for (const Transfer& transfer : exchange.sends) hold(transfer.buffer);
    for (const Transfer& transfer : exchange.receives) hold(transfer.buffer);
  }
  void run(const Launch& launch) { hold(launch.buffer); }
  void run(const Merge& merge) {
    if (merge.gradient >= 0) hold(merge.gradient);
  }
  void run(const MoveRows& move) {
    hold(move.from);
    hold(move.to);
  }
  void run(const Release& release) {
    if (std::exchange(held_.at(static_cast<std::size_t>(release.buffer)), 0)) count(release.buffer, -1);
  }
  void run(const Wait&) {}
  void run(const HeadExchange&) {}

  void hold(int buffer) {
    if (buffer != schedule_.given && !std::exchange(held_.at(static_cast<std::size_t>(buffer)), 1)) count(buffer, 1);
  }
  void count(int number, int sign) {
    const Buffer& buffer = schedule_.buffer(number);
    (buffer.content == Payload::key_value ? now_.key_value : now_.gradient) += sign * buffer.length();
    peak_ = {std::max(peak_.key_value, now_.key_value), std::max(peak_.gradient, now_.gradient)};
  }

  const Schedule& schedule_;
  std::vector<char> held_;
  PeakRows now_, peak_;
};

Schedule lower_pass(const TransportPlan& plan, Pass pass, const std::vector<HeadShare>& heads, bool varlen) {
  const ExchangePlan& steps = pass == Pass::forward ? plan.passes.forward : plan.passes.backward;
  Schedule schedule = Lowering(steps, plan.inner, pass, plan.passes.saved_owner, varlen).run();
  schedule.peak = Memory(schedule).peak();
  schedule.heads = heads;
  if (heads.size() > 1) {
    schedule.operations.insert(schedule.operations.begin(), {-1, HeadExchange{true}});
    schedule.operations.push_back({-1, HeadExchange{false}});
  }
  return schedule;
}

}  // namespace

RankSchedules lower(const TransportPlan& plan, const LoweringFacts& facts) {
  const std::vector<HeadShare> heads = share_heads(facts.heads, facts.groups, plan.head_ranks);
  return {lower_pass(plan, Pass::forward, heads, facts.varlen_forward),
          lower_pass(plan, Pass::backward, heads, facts.varlen_backward)};
}

}  // namespace ringtron
