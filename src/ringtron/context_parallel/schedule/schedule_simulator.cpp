#include "ringtron/context_parallel/schedule/schedule_simulator.h"

#include <algorithm>

#include "ringtron/context_parallel/schedule/simulator_rows.h"
#include "ringtron/context_parallel/schedule/varlen_batches.h"

namespace ringtron {
using internal::rows_exist;
using internal::rows_of;
using internal::text_of;
namespace {

// Whether two tiles of one sample have a row in common.
bool share_rows(std::vector<VarlenTile> tiles, PositionRange VarlenTile::* rows) {
  std::ranges::sort(tiles, {}, [&](const VarlenTile& tile) { return (tile.*rows).begin; });
  for (auto a = tiles.begin(); a != tiles.end(); ++a) {
    for (auto b = a + 1; b != tiles.end() && ((*b).*rows).begin < ((*a).*rows).end; ++b) {
      if (a->sample == b->sample || a->sample == kAllSamples || b->sample == kAllSamples) return true;
    }
  }
  return false;
}

}  // namespace

ScheduleSimulator::ScheduleSimulator(std::vector<const Schedule*> schedules, std::span<const AttentionMask> masks,
                                     int rank_stride, int rank_offset, FaultList& faults)
    : schedules_(std::move(schedules)),
      masks_(masks),
      rank_stride_(rank_stride),
      rank_offset_(rank_offset),
      faults_(faults),
      layout_(schedules_.front()->layout) {}

const char* ScheduleSimulator::pass_name() const { return backward() ? "backward" : "forward"; }
bool ScheduleSimulator::backward() const { return schedules_.front()->pass == Pass::backward; }

void ScheduleSimulator::run() {
  const auto length = static_cast<std::size_t>(layout_.sequence_length());
  launches_of_.assign(length, {});
  seen_.assign(masks_.size(), std::vector<std::vector<PositionRange>>(length));
  for (std::size_t rank = 0; rank < schedules_.size(); ++rank) {
    ranks_.push_back({static_cast<int>(rank), schedules_[rank], {}, {}, {}, 0, {}, {}});
    begin(ranks_.back());
  }
  for (std::size_t exchange = 0;; ++exchange) {
    std::size_t began = 0;
    for (RankState& state : ranks_) began += run_to_exchange(state);
    if (began == 0) break;
    if (began < ranks_.size()) {
      faults_.add("{}: {} of {} ranks begin exchange {}", pass_name(), began, ranks_.size(), exchange);
      return;
    }
    match(exchange);
  }
  for (RankState& state : ranks_) end(state);
  check_cells();
  if (backward()) check_gradients();
}

void ScheduleSimulator::begin(RankState& state) {
  for (const Buffer& buffer : state.schedule->buffers) {
    BufferState b;
    for (const PositionRange& rows : buffer.rows) {
      const bool exists = buffer.owner == kWholeSequence || (buffer.owner >= 0 && buffer.owner < layout_.ranks());
      const std::int64_t of_owner = buffer.owner == kWholeSequence ? layout_.sequence_length()
                                    : exists                       ? layout_.local_length(buffer.owner)
                                                                   : 0;
      if (!exists || !rows_exist(rows, of_owner)) {
        fault(state, "has a buffer of rows that do not exist: {} of {}", text_of(rows), buffer.owner);
        continue;
      }
      const auto positions = positions_in(positions_of(layout_, buffer.owner, rows));
      b.positions.insert(b.positions.end(), positions.begin(), positions.end());
    }
    // Sums begin with zeros.
    b.complete.assign(b.positions.size(), buffer.content == Payload::key_value_gradient);
    b.arriving.assign(b.positions.size(), 0);
    if (buffer.content == Payload::key_value_gradient) b.launches.resize(b.positions.size());
    state.buffers.push_back(std::move(b));
  }
  BufferState& given = state.buffers.at(static_cast<std::size_t>(state.schedule->given));
  std::fill(given.complete.begin(), given.complete.end(), 1);
}

bool ScheduleSimulator::run_to_exchange(RankState& state) {
  for (; state.next < state.schedule->operations.size(); ++state.next) {
    const Operation& operation = state.schedule->operations[state.next];
    std::visit([&](const auto& what) { operate(state, what); }, operation.what);
    if (std::holds_alternative<Exchange>(operation.what)) {
      ++state.next;
      return true;
    }
  }
  return false;
}

void ScheduleSimulator::count_rows(RankState& state, int buffer, int sign) {
  if (buffer == state.schedule->given) return;
  const std::int64_t rows = sign * std::ssize(state.buffers[static_cast<std::size_t>(buffer)].positions);
  const bool sums = state.schedule->buffer(buffer).content == Payload::key_value_gradient;
  (sums ? state.held.gradient : state.held.key_value) += rows;
  PeakRows& most = state.most_held;
  most = {std::max(most.key_value, state.held.key_value), std::max(most.gradient, state.held.gradient)};
}

ScheduleSimulator::BufferState* ScheduleSimulator::use(RankState& state, int buffer, const PositionRange& rows,
                                                       Payload content, const char* what) {
  if (!has_buffer(state, buffer)) {
    fault(state, "{} buffer {}, which does not exist", what, buffer);
    return nullptr;
  }
  BufferState& b = state.buffers[static_cast<std::size_t>(buffer)];
  if (state.schedule->buffer(buffer).content != content) {
    fault(state, "{} buffer {}, which holds {}", what, buffer, to_text(state.schedule->buffer(buffer).content));
    return nullptr;
  }
  if (!rows_exist(rows, std::ssize(b.positions))) {
    fault(state, "{} rows {} of buffer {}, which has {}", what, text_of(rows), buffer, b.positions.size());
    return nullptr;
  }
  if (b.released) {
    fault(state, "{} buffer {} after its release", what, buffer);
    return nullptr;
  }
  if (!std::exchange(b.in_use, true)) count_rows(state, buffer, 1);
  return &b;
}

void ScheduleSimulator::read(RankState& state, BufferState& buffer, const PositionRange& rows,
                             const std::string& what) {
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const auto i = static_cast<std::size_t>(row);
    if (buffer.complete[i] && !buffer.arriving[i]) continue;
    return fault(state, "{}: position {} {}", what, buffer.positions[i],
                 buffer.arriving[i] ? "is still arriving" : "is not held");
  }
}

void ScheduleSimulator::operate(RankState& state, const Exchange& exchange) {
  ExchangeState under_way{state.next, std::vector<std::vector<InFlightTransfer>>(ranks_.size()), {}, false};
  const auto peer_of = [&](const Transfer& transfer) {
    const int peer = transfer.peer / rank_stride_;
    const bool exists = transfer.peer >= 0 && transfer.peer % rank_stride_ == rank_offset_ &&
                        peer < static_cast<int>(ranks_.size()) && peer != state.rank;
    if (!exists)
      fault(state, "has a message with rank {}, which is itself, does not exist or does not hold its heads",
            transfer.peer);
    return exists ? peer : -1;
  };
  for (const Transfer& transfer : exchange.sends) {
    InFlightTransfer in_flight;
    if (has_buffer(state, transfer.buffer)) in_flight.content = state.schedule->buffer(transfer.buffer).content;
    for (const PositionRange& rows : transfer.rows) {
      BufferState* from = use(state, transfer.buffer, rows, in_flight.content, "sends from");
      if (from == nullptr) continue;
      read(state, *from, rows, "sends");
      ++from->sending;
      for (const std::int64_t p : rows_of(from->positions, rows)) in_flight.positions.push_back(p);
      if (in_flight.content == Payload::key_value) continue;
      if (from->received) fault(state, "sends from buffer {}, which holds what was received", transfer.buffer);
      for (const std::vector<int>& launches : rows_of(from->launches, rows)) in_flight.launches.push_back(launches);
    }
    const int peer = peer_of(transfer);
    if (peer >= 0) under_way.sent[static_cast<std::size_t>(peer)].push_back(std::move(in_flight));
  }
  for (const Transfer& transfer : exchange.receives) {
    under_way.received.emplace_back();
    peer_of(transfer);
    if (transfer.rows.size() != 1) {
      fault(state, "receives {} ranges in one message", transfer.rows.size());
      continue;
    }
    const Payload content =
        has_buffer(state, transfer.buffer) ? state.schedule->buffer(transfer.buffer).content : Payload::key_value;
    const bool was_in_use =
        has_buffer(state, transfer.buffer) && state.buffers[static_cast<std::size_t>(transfer.buffer)].in_use;
    BufferState* into = use(state, transfer.buffer, transfer.rows[0], content, "receives into");
    if (into == nullptr) continue;
    if (into->sending > 0) fault(state, "receives into buffer {}, which is being sent", transfer.buffer);
    if (content == Payload::key_value_gradient) {
      into->received = true;
      if (was_in_use) fault(state, "receives into buffer {} of sums, which is in use", transfer.buffer);
      if (transfer.length() != std::ssize(into->positions))
        fault(state, "receives a part of buffer {}, which holds sums", transfer.buffer);
    }
    for (std::int64_t row = transfer.rows[0].begin; row < transfer.rows[0].end; ++row) {
      const auto i = static_cast<std::size_t>(row);
      const bool there = into->arriving[i] || (content == Payload::key_value && into->complete[i]);
      if (there) fault(state, "receives what it holds already: position {}", into->positions[i]);
      into->arriving[i] = 1;
    }
  }
  state.exchanges.push_back(std::move(under_way));
}

// What each rank says it sends, and the other that it receives.
void ScheduleSimulator::match(std::size_t number) {
  for (RankState& to : ranks_) {
    ExchangeState& theirs = to.exchanges[number];
    const auto& receives = std::get<Exchange>(to.schedule->operations[theirs.operation].what).receives;
    std::vector<std::size_t> taken(ranks_.size(), 0);  // by sender
    for (std::size_t i = 0; i < receives.size(); ++i) {
      const int peer = receives[i].peer / rank_stride_;
      if (peer < 0 || peer >= static_cast<int>(ranks_.size()) || receives[i].rows.size() != 1 ||
          !has_buffer(to, receives[i].buffer))
        continue;
      const std::vector<InFlightTransfer>& sent_transfers =
          ranks_[static_cast<std::size_t>(peer)].exchanges[number].sent[static_cast<std::size_t>(to.rank)];
      const std::size_t at = taken[static_cast<std::size_t>(peer)]++;
      const Buffer& buffer = to.schedule->buffer(receives[i].buffer);
      const std::vector<std::int64_t>& positions = to.buffers[static_cast<std::size_t>(receives[i].buffer)].positions;
      if (!rows_exist(receives[i].rows[0], std::ssize(positions))) continue;
      const std::span<const std::int64_t> expected = rows_of(positions, receives[i].rows[0]);
      if (at >= sent_transfers.size()) {
        faults_.add("{} exchange {}: rank {} sends nothing to rank {}, which receives {} of positions{}", pass_name(),
                    number, name(peer), name(to.rank), to_text(buffer.content), text_of(expected));
        continue;
      }
      if (sent_transfers[at].content != buffer.content || !std::ranges::equal(sent_transfers[at].positions, expected)) {
        faults_.add("{} exchange {}: rank {} sends {} of positions{} to rank {}, which receives {} of positions{}",
                    pass_name(), number, name(peer), to_text(sent_transfers[at].content),
                    text_of(std::span<const std::int64_t>(sent_transfers[at].positions)), name(to.rank),
                    to_text(buffer.content), text_of(expected));
        continue;
      }
      theirs.received[i] = sent_transfers[at];
    }
    for (RankState& from : ranks_) {
      const auto& sent_transfers = from.exchanges[number].sent[static_cast<std::size_t>(to.rank)];
      const std::size_t matched = taken[static_cast<std::size_t>(from.rank)];
      if (sent_transfers.size() <= matched) continue;
      const InFlightTransfer& extra = sent_transfers[matched];
      faults_.add("{} exchange {}: rank {} sends {} of positions{} to rank {}, which receives nothing", pass_name(),
                  number, name(from.rank), to_text(extra.content),
                  text_of(std::span<const std::int64_t>(extra.positions)), name(to.rank));
    }
  }
}

void ScheduleSimulator::operate(RankState& state, const Wait& wait) {
  if (wait.exchange < 0 || wait.exchange >= static_cast<int>(state.exchanges.size())) {
    return fault(state, "waits for exchange {}, which has not begun", wait.exchange);
  }
  ExchangeState& done = state.exchanges[static_cast<std::size_t>(wait.exchange)];
  if (std::exchange(done.waited, true)) return fault(state, "waits for exchange {} twice", wait.exchange);
  const auto& exchange = std::get<Exchange>(state.schedule->operations[done.operation].what);
  for (const Transfer& transfer : exchange.sends) {
    if (!has_buffer(state, transfer.buffer)) continue;
    BufferState& from = state.buffers[static_cast<std::size_t>(transfer.buffer)];
    from.sending = std::max(0, from.sending - static_cast<int>(transfer.rows.size()));
  }
  for (std::size_t i = 0; i < exchange.receives.size(); ++i) {
    const Transfer& transfer = exchange.receives[i];
    if (!has_buffer(state, transfer.buffer) || transfer.rows.size() != 1) continue;
    BufferState& into = state.buffers[static_cast<std::size_t>(transfer.buffer)];
    if (!rows_exist(transfer.rows[0], std::ssize(into.positions))) continue;
    for (std::int64_t row = transfer.rows[0].begin; row < transfer.rows[0].end; ++row) {
      into.arriving[static_cast<std::size_t>(row)] = 0;
      into.complete[static_cast<std::size_t>(row)] = 1;
    }
    const InFlightTransfer& in_flight = done.received[i];
    for (std::size_t row = 0; row < in_flight.launches.size() && !into.launches.empty(); ++row) {
      into.launches[row + static_cast<std::size_t>(transfer.rows[0].begin)] = in_flight.launches[row];
    }
  }
}

void ScheduleSimulator::operate(RankState& state, const Launch& launch) {
  const int number = launch_count_++;
  state.launches.push_back({number, &launch, 0});
  if (!rows_exist(launch.q, layout_.local_length(state.rank)) || launch.q.empty() || launch.kv.empty() ||
      !sample_exists(launch.sample)) {
    return fault(state, "computes what does not exist: q {} x rows {} of buffer {}, sample {}", text_of(launch.q),
                 text_of(launch.kv), launch.buffer, launch.sample);
  }
  BufferState* buffer = use(state, launch.buffer, launch.kv, Payload::key_value, "computes with");
  if (buffer == nullptr) return;
  read(state, *buffer, launch.kv, "computes");
  if (launch.batch) check_tiles(state, launch);
  if (!backward()) return;
  for (const std::int64_t p : rows_of(buffer->positions, launch.kv))
    launches_of_[static_cast<std::size_t>(p)].push_back(number);
}

// With one mask it is that of all samples, which no tile may leave out.
bool ScheduleSimulator::sample_exists(int sample) const {
  return sample == kAllSamples || (masks_.size() > 1 && sample >= 0 && sample < static_cast<int>(masks_.size()));
}

// What one call can compute, see varlen_batches.h.
void ScheduleSimulator::check_tiles(RankState& state, const Launch& launch) {
  const std::vector<VarlenTile>& tiles = launch.batch->tiles;
  if (launch.sample != kAllSamples) fault(state, "computes a batch of tiles of sample {} only", launch.sample);
  for (const VarlenTile& tile : tiles) {
    const bool exists =
        rows_exist(tile.q, launch.q.length()) && rows_exist(tile.kv, launch.kv.length()) && sample_exists(tile.sample);
    if (!exists || tile.q.empty() || tile.kv.empty()) {
      fault(state, "has a tile that is not in its launch: q {} x {}, sample {}", text_of(tile.q), text_of(tile.kv),
            tile.sample);
    }
    if (launch.batch->causal && tile.q.length() != tile.kv.length()) {
      fault(state, "has a causal tile that is no square: q {} x {}", text_of(tile.q), text_of(tile.kv));
    }
  }
  if (share_rows(tiles, &VarlenTile::q) || share_rows(tiles, &VarlenTile::kv))
    fault(state, "has two tiles with a row in common in one batch");
}

void ScheduleSimulator::operate(RankState& state, const Merge& merge) {
  if (merge.launch < 0 || merge.launch >= static_cast<int>(state.launches.size())) {
    return fault(state, "merges launch {}, which has not begun", merge.launch);
  }
  LaunchState& done = state.launches[static_cast<std::size_t>(merge.launch)];
  ++done.merges;
  const Launch& launch = *done.launch;
  if (!has_buffer(state, launch.buffer)) return;
  BufferState& key_value = state.buffers[static_cast<std::size_t>(launch.buffer)];
  if (!rows_exist(launch.kv, std::ssize(key_value.positions)) ||
      !rows_exist(launch.q, layout_.local_length(state.rank)))
    return;
  const auto keys = rows_of(key_value.positions, launch.kv);
  mark_cells(state.rank, launch, keys);
  if (!backward()) {
    if (merge.gradient >= 0) fault(state, "has gradients of launch {}", merge.launch);
    return;
  }
  BufferState* sums = use(state, merge.gradient, merge.rows, Payload::key_value_gradient, "adds to");
  if (sums == nullptr) return;
  read(state, *sums, merge.rows, "adds to");
  if (sums->sending > 0) fault(state, "adds to buffer {}, which is being sent", merge.gradient);
  if (sums->received) fault(state, "adds to buffer {}, which holds what was received", merge.gradient);
  if (!std::ranges::equal(keys, rows_of(sums->positions, merge.rows))) {
    return fault(state, "adds the gradients of positions{} to those of{}", text_of(keys),
                 text_of(rows_of(sums->positions, merge.rows)));
  }
  for (std::vector<int>& launches : rows_of(sums->launches, merge.rows)) launches.push_back(done.number);
}

void ScheduleSimulator::operate(RankState& state, const MoveRows& move) {
  if (!has_buffer(state, move.from)) return fault(state, "moves rows of buffer {}, which does not exist", move.from);
  if (move.from == move.to) return fault(state, "moves rows of buffer {} to itself", move.from);
  const Payload content = state.schedule->buffer(move.from).content;
  for (const RowMove& rows : move.moves) {
    const PositionRange to_rows{rows.to, rows.to + rows.from.length()};
    BufferState* from = use(state, move.from, rows.from, content, "moves rows of");
    BufferState* to = use(state, move.to, to_rows, content, "moves rows to");
    if (from == nullptr || to == nullptr) return;
    read(state, *from, rows.from, "moves");
    if (to->sending > 0) fault(state, "moves rows to buffer {}, which is being sent", move.to);
    if (to->received) fault(state, "moves rows to buffer {}, which holds what was received", move.to);
    if (!std::ranges::equal(rows_of(from->positions, rows.from), rows_of(to->positions, to_rows))) {
      fault(state, "moves positions{} to{}", text_of(rows_of(from->positions, rows.from)),
            text_of(rows_of(to->positions, to_rows)));
      continue;
    }
    for (std::int64_t row = 0; row < rows.from.length(); ++row) {
      const auto i = static_cast<std::size_t>(rows.from.begin + row), j = static_cast<std::size_t>(rows.to + row);
      if (to->arriving[j]) fault(state, "moves rows to where a message arrives: position {}", to->positions[j]);
      to->complete[j] = 1;
      if (content == Payload::key_value) continue;
      to->launches[j].insert(to->launches[j].end(), from->launches[i].begin(), from->launches[i].end());
    }
  }
}

void ScheduleSimulator::operate(RankState& state, const Release& release) {
  if (!has_buffer(state, release.buffer))
    return fault(state, "releases buffer {}, which does not exist", release.buffer);
  BufferState& buffer = state.buffers[static_cast<std::size_t>(release.buffer)];
  if (buffer.released) return fault(state, "releases buffer {} twice", release.buffer);
  const bool arriving = std::ranges::any_of(buffer.arriving, [](char row) { return row != 0; });
  if (buffer.sending > 0 || arriving)
    fault(state, "releases buffer {} while a message {} it", release.buffer, arriving ? "writes" : "reads");
  buffer.released = true;
  if (std::exchange(buffer.in_use, false)) count_rows(state, release.buffer, -1);
}

void ScheduleSimulator::operate(RankState& state, const HeadExchange& exchange) {
  const bool first = state.next == 0, last = state.next + 1 == state.schedule->operations.size();
  if (state.schedule->heads.size() < 2) fault(state, "exchanges heads that nobody shares");
  if (exchange.to_heads ? !first : !last) fault(state, "exchanges heads in the middle");
}

}  // namespace ringtron
