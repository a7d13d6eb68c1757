// What negative controls of schedule_check share: schedules that are proven, and edits of their operations.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "ringtron/context_parallel/schedule/schedule_check.h"
#include "tests/context_parallel/schedule/operations.h"

namespace ringtron::testing {

using Masks = std::vector<AttentionMask>;

template <class What>
std::size_t place(const Schedule& schedule, std::size_t number) {
  return places_of<What>(schedule).at(number);
}
inline void insert(Schedule& schedule, std::size_t at, Operation operation) {
  schedule.operations.insert(schedule.operations.begin() + static_cast<std::ptrdiff_t>(at), std::move(operation));
}
inline void erase(Schedule& schedule, std::size_t at) {
  schedule.operations.erase(schedule.operations.begin() + static_cast<std::ptrdiff_t>(at));
}
// The operation at `from` comes before the one that is at `to`.
inline void bring(Schedule& schedule, std::size_t from, std::size_t to) {
  Operation operation = schedule.operations.at(from);
  erase(schedule, from);
  insert(schedule, to > from ? to - 1 : to, std::move(operation));
}
template <class What>
void drop(Schedule& schedule, std::size_t number) {
  erase(schedule, place<What>(schedule, number));
}
template <class What>
void twice(Schedule& schedule, std::size_t number) {
  const std::size_t at = place<What>(schedule, number);
  insert(schedule, at, schedule.operations.at(at));
}
inline void append(Schedule& schedule, Operation operation) { schedule.operations.push_back(std::move(operation)); }

// A causal ring of four ranks, whose rank 1 is printed in schedule_check_test.cpp. Rank r is given its own block as
// buffer 0 and receives those of r-1, r-2 and r-3 as 1, 2 and 3. Its backward is given the block of r+1; buffer 1 is
// its result.
class ScheduleDamage : public ::testing::Test {
 public:
  void use(CpTransport transport, int a, Masks masks, bool varlen = false) {
    masks_ = std::move(masks);
    all_ = make_schedules({layout_, masks_}, transport, a, {4, 4, varlen, varlen});
    ASSERT_THAT(check_schedules(all_, {layout_, masks_}), ::testing::IsEmpty());
  }
  void expect_fault(const std::string& text) {
    EXPECT_THAT(check_schedules(all_, {layout_, masks_}), ::testing::Contains(::testing::HasSubstr(text)));
  }
  Schedule& forward(int rank) { return all_.at(static_cast<std::size_t>(rank)).forward; }
  Schedule& backward(int rank) { return all_.at(static_cast<std::size_t>(rank)).backward; }
  Transfer& sent(int rank, std::size_t exchange) { return nth<Exchange>(forward(rank), exchange).sends.at(0); }
  Transfer& received(int rank, std::size_t exchange) { return nth<Exchange>(forward(rank), exchange).receives.at(0); }

  SequenceLayout layout_ = zigzag_layout(16, 4);
  Masks masks_ = {{16, true}};
  std::vector<RankSchedules> all_ = make_schedules({layout_, masks_}, CpTransport::p2p, 1, {4, 4});
};

}  // namespace ringtron::testing
