// The inner part of schedule_check.h: simulates one pass of the ranks that hold the same heads.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ringtron/context_parallel/plan/attention_mask.h"
#include "ringtron/context_parallel/schedule/fault_list.h"
#include "ringtron/context_parallel/schedule/schedule.h"

namespace ringtron {

class ScheduleSimulator {
 public:
  // One schedule per rank of the layout, in rank order; their peers are ranks of the whole group: rank r of the layout
  // is r * rank_stride + rank_offset there. All arguments must outlive this.
  ScheduleSimulator(std::vector<const Schedule*> schedules, std::span<const AttentionMask> masks, int rank_stride,
                    int rank_offset, FaultList& faults);

  void run();

 private:
  struct BufferState {
    std::vector<std::int64_t> positions;     // of its rows
    std::vector<char> complete;              // rows that may be read
    std::vector<char> arriving;              // rows that an exchange under way writes
    std::vector<std::vector<int>> launches;  // of gradients: what has been added to the row
    int sending = 0;                         // exchanges under way that read it
    bool in_use = false, released = false;
    bool received = false;  // of gradients: a message fills it, so nothing is added to it
  };
  struct LaunchState {
    int number = 0;  // over all ranks
    const Launch* launch = nullptr;
    int merges = 0;
  };
  // A message on its way: what it brings, row by row.
  struct InFlightTransfer {
    Payload content = Payload::key_value;
    std::vector<std::int64_t> positions;
    std::vector<std::vector<int>> launches;
  };
  struct ExchangeState {
    std::size_t operation = 0;
    std::vector<std::vector<InFlightTransfer>> sent;  // by receiver
    std::vector<InFlightTransfer> received;           // in the order of Exchange::receives; filled when all have begun
    bool waited = false;
  };
  struct RankState {
    int rank = 0;
    const Schedule* schedule = nullptr;
    std::vector<BufferState> buffers;
    std::vector<LaunchState> launches;
    std::vector<ExchangeState> exchanges;
    std::size_t next = 0;  // operation
    PeakRows held, most_held;
  };

  void begin(RankState& state);
  // Up to the next exchange, which begins; false: there was none.
  bool run_to_exchange(RankState& state);
  void match(std::size_t exchange);
  void end(RankState& state);
  void check_cells();
  void check_gradients();

  void operate(RankState& state, const Exchange& exchange);
  void operate(RankState& state, const Wait& wait);
  void operate(RankState& state, const Launch& launch);
  void operate(RankState& state, const Merge& merge);
  void operate(RankState& state, const MoveRows& move);
  void operate(RankState& state, const Release& release);
  void operate(RankState& state, const HeadExchange& exchange);

  bool has_buffer(const RankState& state, int buffer) const {
    return buffer >= 0 && buffer < std::ssize(state.buffers);
  }
  bool sample_exists(int sample) const;
  void check_tiles(RankState& state, const Launch& launch);
  // The buffer, in use from now on; null, and a fault, where it or its rows do not exist, or it was released.
  BufferState* use(RankState& state, int buffer, const PositionRange& rows, Payload content, const char* what);
  void read(RankState& state, BufferState& buffer, const PositionRange& rows, const std::string& what);
  void mark_cells(int rank, const Launch& launch, std::span<const std::int64_t> keys);
  void mark_block(int rank, int sample, const PositionRange& q, const Band& band, std::span<const std::int64_t> keys);
  // Counts the rows of a buffer from now on (1), or no longer (-1).
  void count_rows(RankState& state, int buffer, int sign);

  template <class... Args>
  void fault(const RankState& state, fmt::format_string<Args...> format, Args&&... args) {
    const Operation* at =
        state.next < state.schedule->operations.size() ? &state.schedule->operations[state.next] : nullptr;
    faults_.add("{} operation {} (step {}): rank {} {}", pass_name(), state.next, at ? at->step : -1, name(state.rank),
                fmt::format(format, std::forward<Args>(args)...));
  }
  const char* pass_name() const;
  bool backward() const;
  int name(int rank) const { return rank * rank_stride_ + rank_offset_; }

  std::vector<const Schedule*> schedules_;
  std::span<const AttentionMask> masks_;
  int rank_stride_, rank_offset_;
  FaultList& faults_;
  const SequenceLayout& layout_;

  std::vector<RankState> ranks_;
  std::vector<std::vector<int>> launches_of_;                  // by position: the launches that read its keys
  std::vector<std::vector<std::vector<PositionRange>>> seen_;  // by mask and query: keys whose cells were merged
  int launch_count_ = 0;
};

}  // namespace ringtron
