// The inner part of plan_check.h: plays the plans of ranks that pass keys and values among themselves.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ringtron/context_parallel/plan/attention_mask.h"
#include "ringtron/context_parallel/plan/exchange_plan.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"

namespace ringtron {

// Lines that say what is wrong; only the first ones are kept, so that a broken plan stays readable.
class FaultList {
 public:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    if (count_++ < kMost) lines_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  std::vector<std::string> take() {
    if (count_ > kMost) lines_.push_back(fmt::format("... and {} more", count_ - kMost));
    return std::move(lines_);
  }

 private:
  static constexpr int kMost = 60;
  int count_ = 0;
  std::vector<std::string> lines_;
};

class PlanPlayer {
 public:
  // Faults name rank r of the layout r * rank_stride + rank_offset. All arguments must outlive the player.
  PlanPlayer(const SequenceLayout& layout, std::span<const AttentionMask> masks, int rank_stride,
             int rank_offset, FaultList& faults);

  // One plan per rank of the layout, in rank order; peers are ranks of the layout. The forward first.
  void play_forward(const std::vector<ExchangePlan>& plans, bool keeps_last_block);
  void play_backward(const std::vector<ExchangePlan>& plans);

  // The most rows of other ranks that one rank has held in a step so far.
  std::int64_t most_foreign_rows() const { return most_foreign_rows_; }

 private:
  // What a rank holds, by position.
  struct Holding {
    std::vector<char> key_value;
    std::vector<char> gradient;                // a sum is held, maybe still zero
    std::vector<std::vector<int>> attends_in;  // the attends that have been added to the sum
    std::vector<int> last_use;                 // the last step that needs K and V; -1: none
    std::int64_t own_rows_arrived = 0;         // in this step: a copy that takes room
  };
  // A message on its way, with the sums that it carries, one per row.
  struct Parcel {
    int from = 0, to = 0;
    Message message;
    std::vector<std::vector<int>> sums;
  };

  void play(const std::vector<ExchangePlan>& plans, bool keeps_last_block);
  bool plans_fit(const std::vector<ExchangePlan>& plans);
  const Step& step_of(const ExchangePlan& plan) const { return plan.steps[static_cast<std::size_t>(step_)]; }
  void begin(const std::vector<ExchangePlan>& plans);
  void check_flags(const std::vector<ExchangePlan>& plans);
  std::vector<Parcel> send(const std::vector<ExchangePlan>& plans);
  bool peer_exists(int rank, const Message& message);
  Parcel pack(int rank, const Message& message);
  void attend(int rank, const Attend& attend);
  void mark_cells(int rank, const Attend& attend);
  void deliver(const std::vector<Parcel>& parcels, bool keep);
  void release();
  void check_cells();
  void check_gradients();

  // The positions of these rows of a block, or of the whole sequence. Rows must exist.
  std::span<const std::int64_t> positions(int owner, const PositionRange& rows) const;
  bool rows_exist(int owner, const PositionRange& rows) const;

  template <class... Args>
  void fault(int rank, fmt::format_string<Args...> format, Args&&... args) {
    faults_.add("{} step {}: rank {} {}", pass_, step_, name(rank),
                fmt::format(format, std::forward<Args>(args)...));
  }
  int name(int rank) const { return rank * rank_stride_ + rank_offset_; }

  const SequenceLayout& layout_;
  std::span<const AttentionMask> masks_;
  int rank_stride_, rank_offset_;
  FaultList& faults_;

  std::vector<std::vector<std::int64_t>> positions_;  // of each rank; the last: of the whole sequence
  std::vector<int> owner_of_;                         // by position
  std::vector<Holding> holdings_;
  std::vector<std::vector<char>>
      kept_;  // by rank and position: K and V kept from the forward for the backward
  std::int64_t most_foreign_rows_ = 0;

  // Of the pass being played.
  const char* pass_ = "forward";
  int step_ = 0;
  std::vector<int> attender_;                 // of each attend so far: its rank
  std::vector<std::vector<int>> attends_of_;  // by position: the attends that touched its keys
  std::vector<std::vector<std::vector<PositionRange>>> seen_;  // by mask and query: keys attended to
};

}  // namespace ringtron
