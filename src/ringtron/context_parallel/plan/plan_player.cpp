#include "ringtron/context_parallel/plan/plan_player.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace ringtron {
namespace {

std::string text_of(const Message& message) {
  return fmt::format("{} of {} [{}-{})", to_text(message.payload), message.owner,
                     message.rows.begin, message.rows.end);
}

std::string text_of(const std::vector<Message>& messages) {
  std::string text;
  for (const Message& message : messages) text += (text.empty() ? "" : ", ") + text_of(message);
  return text.empty() ? "nothing" : text;
}

std::string text_of(const std::vector<PositionRange>& ranges) {
  std::string text;
  for (const PositionRange& range : ranges) text += fmt::format(" [{}-{})", range.begin, range.end);
  return text.empty() ? " none" : text;
}

// Whether the ranges, in any order, are exactly the positions of `expected`, each once.
bool tile_exactly(std::vector<PositionRange>& ranges, const PositionRange& expected) {
  std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  std::int64_t at = expected.begin;
  for (const PositionRange& range : ranges) {
    if (range.begin != at) return false;
    at = range.end;
  }
  return at == expected.end;
}

// Sender and receiver name each other; all else of a message is the same on both sides.
Message without_peer(Message message) {
  message.peer = 0;
  return message;
}

}  // namespace

PlanPlayer::PlanPlayer(const SequenceLayout& layout, std::span<const AttentionMask> masks, int rank_stride,
                       int rank_offset, FaultList& faults)
    : layout_(layout), masks_(masks), rank_stride_(rank_stride), rank_offset_(rank_offset), faults_(faults) {
  const auto length = static_cast<std::size_t>(layout.sequence_length());
  owner_of_.resize(length);
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    std::vector<std::int64_t> positions;
    for (const PositionRange& range : layout.of(rank)) {
      for (std::int64_t p = range.begin; p < range.end; ++p) {
        positions.push_back(p);
        owner_of_[static_cast<std::size_t>(p)] = rank;
      }
    }
    positions_.push_back(std::move(positions));
  }
  positions_.emplace_back(length);
  std::iota(positions_.back().begin(), positions_.back().end(), 0);
  kept_.assign(static_cast<std::size_t>(layout.ranks()), std::vector<char>(length, 0));
}

void PlanPlayer::play_forward(const std::vector<ExchangePlan>& plans, bool keeps_last_block) {
  pass_ = "forward";
  play(plans, keeps_last_block);
  check_cells();
}

void PlanPlayer::play_backward(const std::vector<ExchangePlan>& plans) {
  pass_ = "backward";
  play(plans, false);
  check_cells();
  check_gradients();
}

void PlanPlayer::play(const std::vector<ExchangePlan>& plans, bool keeps_last_block) {
  seen_.assign(masks_.size(), std::vector<std::vector<PositionRange>>(owner_of_.size()));
  attends_of_.assign(owner_of_.size(), {});
  attender_.clear();
  step_ = 0;
  if (!plans_fit(plans)) return;
  begin(plans);
  const int steps = static_cast<int>(plans.front().steps.size());
  int last_arrival = -1;
  for (int i = 0; i < steps; ++i) {
    if (plans.front().steps[static_cast<std::size_t>(i)].communicates) last_arrival = i;
  }
  for (; step_ < steps; ++step_) {
    check_flags(plans);
    const std::vector<Parcel> parcels = send(plans);
    for (const ExchangePlan& plan : plans) {
      for (const Attend& attend : step_of(plan).attends) this->attend(plan.rank, attend);
    }
    deliver(parcels, keeps_last_block && step_ == last_arrival);
    release();
  }
}

bool PlanPlayer::plans_fit(const std::vector<ExchangePlan>& plans) {
  bool fit = static_cast<int>(plans.size()) == layout_.ranks();
  if (!fit) faults_.add("{}: expected {} plans, got {}", pass_, layout_.ranks(), plans.size());
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const ExchangePlan& plan = plans[i];
    if (plan.rank != static_cast<int>(i) || plan.ranks != layout_.ranks()) {
      faults_.add("{}: expected the plan of rank {} of {}, got that of rank {} of {}", pass_, i,
                  layout_.ranks(), plan.rank, plan.ranks);
      fit = false;
    }
    if (plan.steps.size() != plans.front().steps.size()) {
      faults_.add("{}: rank {} has {} steps, rank 0 has {}", pass_, i, plan.steps.size(),
                  plans.front().steps.size());
      fit = false;
    }
  }
  return fit;
}

void PlanPlayer::begin(const std::vector<ExchangePlan>& plans) {
  const std::size_t length = owner_of_.size();
  holdings_.clear();
  for (const ExchangePlan& plan : plans) {
    Holding holding;
    holding.key_value = kept_[static_cast<std::size_t>(plan.rank)];
    for (const std::int64_t p : positions_[static_cast<std::size_t>(plan.rank)]) holding.key_value[p] = 1;
    holding.gradient = holding.key_value;
    holding.attends_in.resize(length);
    holding.last_use.assign(length, -1);
    for (std::size_t i = 0; i < plan.steps.size(); ++i) {
      const auto use = [&](int owner, const PositionRange& rows) {
        if (!rows_exist(owner, rows)) return;  // a fault of that step
        for (const std::int64_t p : positions(owner, rows)) holding.last_use[p] = static_cast<int>(i);
      };
      for (const Attend& attend : plan.steps[i].attends) use(attend.owner, attend.kv);
      for (const Message& message : plan.steps[i].sends) {
        if (message.payload == Payload::key_value) use(message.owner, message.rows);
      }
    }
    holdings_.push_back(std::move(holding));
  }
  for (std::vector<char>& kept : kept_) std::fill(kept.begin(), kept.end(), 0);
}

void PlanPlayer::check_flags(const std::vector<ExchangePlan>& plans) {
  const bool expected = step_of(plans.front()).communicates;
  for (const ExchangePlan& plan : plans) {
    const Step& step = step_of(plan);
    if (step.communicates != expected) {
      fault(plan.rank, "{}, rank {} does not agree",
            step.communicates ? "communicates" : "does not communicate", name(0));
    }
    if (!step.communicates && !(step.sends.empty() && step.receives.empty())) {
      fault(plan.rank, "has messages in a step that does not communicate");
    }
  }
}

// The messages of the step that both sides name, and faults for the others.
std::vector<PlanPlayer::Parcel> PlanPlayer::send(const std::vector<ExchangePlan>& plans) {
  std::map<std::pair<int, int>, std::vector<Message>> sent, received;  // by sender and receiver
  std::vector<Parcel> parcels;
  for (const ExchangePlan& plan : plans) {
    const Step& step = step_of(plan);
    for (const Message& message : step.sends) {
      if (!peer_exists(plan.rank, message)) continue;
      sent[{plan.rank, message.peer}].push_back(without_peer(message));
      parcels.push_back(pack(plan.rank, message));
    }
    for (const Message& message : step.receives) {
      if (peer_exists(plan.rank, message))
        received[{message.peer, plan.rank}].push_back(without_peer(message));
    }
  }
  for (const auto& [pair, messages] : received) sent[pair];  // also pairs of which only one side knows
  for (const auto& [pair, messages] : sent) {
    if (messages == received[pair]) continue;
    fault(pair.first, "sends {} to rank {}, which receives {}", text_of(messages), name(pair.second),
          text_of(received[pair]));
    std::erase_if(
        parcels, [&](const Parcel& parcel) { return parcel.from == pair.first && parcel.to == pair.second; });
  }
  return parcels;
}

bool PlanPlayer::peer_exists(int rank, const Message& message) {
  const bool exists = message.peer >= 0 && message.peer < layout_.ranks() && message.peer != rank;
  if (!exists) fault(rank, "has a message with rank {}: {}", name(message.peer), text_of(message));
  return exists;
}

PlanPlayer::Parcel PlanPlayer::pack(int rank, const Message& message) {
  Parcel parcel{rank, message.peer, message, {}};
  Holding& holding = holdings_[static_cast<std::size_t>(rank)];
  if (message.owner == kWholeSequence || !rows_exist(message.owner, message.rows)) {
    fault(rank, "sends rows that do not exist: {}", text_of(message));
    parcel.message.rows = {};
    return parcel;
  }
  bool held = true, own = true;
  for (const std::int64_t p : positions(message.owner, message.rows)) {
    if (message.payload == Payload::key_value) {
      held = held && holding.key_value[p];
    } else {
      held = held && holding.gradient[p];
      holding.gradient[p] = 0;
      parcel.sums.push_back(std::exchange(holding.attends_in[p], {}));
      for (const int attend : parcel.sums.back()) own = own && attender_[static_cast<std::size_t>(attend)] == rank;
    }
  }
  if (!held) fault(rank, "sends what it does not hold: {}", text_of(message));
  if (!own && message.payload == Payload::key_value_gradient) {
    fault(rank, "sends as its own gradient what others have added to: {}", text_of(message));
  }
  return parcel;
}

void PlanPlayer::attend(int rank, const Attend& attend) {
  const auto text = [&] {
    return fmt::format("q [{}-{}) x kv of {} [{}-{})", attend.q.begin, attend.q.end, attend.owner,
                       attend.kv.begin, attend.kv.end);
  };
  const bool sample_exists =
      attend.sample == kEverySample ||
      (masks_.size() > 1 && attend.sample >= 0 && attend.sample < static_cast<int>(masks_.size()));
  if (!rows_exist(rank, attend.q) || !rows_exist(attend.owner, attend.kv) || attend.q.empty() ||
      attend.kv.empty() || !sample_exists) {
    return fault(rank, "attends to what does not exist: {} of sample {}", text(), attend.sample);
  }
  Holding& holding = holdings_[static_cast<std::size_t>(rank)];
  const auto keys = positions(attend.owner, attend.kv);
  if (!std::all_of(keys.begin(), keys.end(), [&](std::int64_t p) { return holding.key_value[p]; })) {
    fault(rank, "attends to what it does not hold: {}", text());
  }
  const int number = static_cast<int>(attender_.size());
  for (const std::int64_t p : keys) {
    attends_of_[p].push_back(number);
    holding.attends_in[p].push_back(number);
    holding.gradient[p] = 1;
  }
  attender_.push_back(rank);
  mark_cells(rank, attend);
}

void PlanPlayer::mark_cells(int rank, const Attend& attend) {
  const auto queries = positions(rank, attend.q), keys = positions(attend.owner, attend.kv);
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const PositionRange row = attend.band.row(static_cast<std::int64_t>(i), attend.kv.length());
    for (std::int64_t begin = row.begin; begin < row.end;) {
      std::int64_t end = begin + 1;
      while (end < row.end && keys[end] == keys[end - 1] + 1) ++end;
      for (std::size_t mask = 0; mask < masks_.size(); ++mask) {
        if (attend.sample == kEverySample || attend.sample == static_cast<int>(mask)) {
          seen_[mask][queries[i]].push_back({keys[begin], keys[end - 1] + 1});
        }
      }
      begin = end;
    }
  }
}

// `keep`: what arrives now is the block that is kept for the backward.
void PlanPlayer::deliver(const std::vector<Parcel>& parcels, bool keep) {
  for (const Parcel& parcel : parcels) {
    Holding& holding = holdings_[static_cast<std::size_t>(parcel.to)];
    const auto rows = positions(parcel.message.owner, parcel.message.rows);
    bool is_new = true;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::int64_t p = rows[i];
      if (parcel.message.payload == Payload::key_value) {
        // A ring may bring a block back to its owner; nobody else needs rows twice.
        const bool own = owner_of_[p] == parcel.to;
        is_new = is_new && (own || !holding.key_value[p]);
        holding.own_rows_arrived += own;
        holding.key_value[p] = 1;
        if (keep) kept_[static_cast<std::size_t>(parcel.to)][p] = 1;
        // Whoever has keys and values has a sum of their gradients too, zero so far.
        holding.gradient[p] = 1;
      } else {
        holding.gradient[p] = 1;
        auto& sum = holding.attends_in[p];
        sum.insert(sum.end(), parcel.sums[i].begin(), parcel.sums[i].end());
      }
    }
    if (!is_new) fault(parcel.to, "receives what it holds already: {}", text_of(parcel.message));
  }
}

// Counts what is held in this step, then drops what no later step needs.
void PlanPlayer::release() {
  for (std::size_t rank = 0; rank < holdings_.size(); ++rank) {
    Holding& holding = holdings_[rank];
    std::int64_t foreign = std::exchange(holding.own_rows_arrived, 0);
    for (std::size_t p = 0; p < owner_of_.size(); ++p) {
      if (!holding.key_value[p] || owner_of_[p] == static_cast<int>(rank)) continue;
      ++foreign;
      if (holding.last_use[p] <= step_ && !kept_[rank][p]) holding.key_value[p] = 0;
    }
    most_foreign_rows_ = std::max(most_foreign_rows_, foreign);
  }
}

void PlanPlayer::check_cells() {
  for (std::size_t mask = 0; mask < masks_.size(); ++mask) {
    for (std::size_t query = 0; query < owner_of_.size(); ++query) {
      const PositionRange expected = masks_[mask].keys_of(static_cast<std::int64_t>(query));
      std::vector<PositionRange>& seen = seen_[mask][query];
      if (tile_exactly(seen, expected)) continue;
      faults_.add("{}: rank {}, query {} of sample {}: expected keys [{}-{}), got{}", pass_,
                  name(owner_of_[query]), query, mask, expected.begin, expected.end, text_of(seen));
    }
  }
}

void PlanPlayer::check_gradients() {
  if (holdings_.empty()) return;
  for (std::size_t p = 0; p < owner_of_.size(); ++p) {
    std::vector<int>& sum = holdings_[static_cast<std::size_t>(owner_of_[p])].attends_in[p];
    std::sort(sum.begin(), sum.end());  // attends_of_ ascends
    if (sum == attends_of_[p]) continue;
    faults_.add("backward: rank {}, gradient of position {}: expected the parts of attends {}, got {}",
                name(owner_of_[p]), p, fmt::join(attends_of_[p], " "), fmt::join(sum, " "));
  }
}

std::span<const std::int64_t> PlanPlayer::positions(int owner, const PositionRange& rows) const {
  const auto& all = owner == kWholeSequence ? positions_.back() : positions_[static_cast<std::size_t>(owner)];
  return std::span(all).subspan(static_cast<std::size_t>(rows.begin),
                                static_cast<std::size_t>(rows.length()));
}

bool PlanPlayer::rows_exist(int owner, const PositionRange& rows) const {
  if (owner != kWholeSequence && (owner < 0 || owner >= layout_.ranks())) return false;
  const std::int64_t length =
      owner == kWholeSequence ? layout_.sequence_length() : layout_.local_length(owner);
  return rows.begin >= 0 && rows.begin <= rows.end && rows.end <= length;
}

}  // namespace ringtron
