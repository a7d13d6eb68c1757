// Lists of instructions are proven, and lists that are wrong are found to be so.
#include "ringtron/train/pipeline/pipeline_schedule.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kForward = Instruction::Kind::forward, kBackward = Instruction::Kind::backward;

TEST(PipelineSchedule, OfOneStageIsForwardAndBackwardInTurn) {
  EXPECT_THAT(one_forward_one_backward({1, 1, 2}, 0), ElementsAre(Instruction{kForward, 0}, Instruction{kBackward, 0},
                                                                  Instruction{kForward, 1}, Instruction{kBackward, 1}));
  EXPECT_THAT(one_forward_one_backward({1, 2, 1}, 0),
              ElementsAre(Instruction{kForward, 0, 0}, Instruction{kForward, 0, 1}, Instruction{kBackward, 0, 1},
                          Instruction{kBackward, 0, 0}));
}

TEST(PipelineSchedule, OfSeveralStagesFillsThePipelineFirst) {
  EXPECT_THAT(one_forward_one_backward({2, 1, 2}, 0),
              ElementsAre(Instruction{kForward, 0}, Instruction{kForward, 1}, Instruction{kBackward, 0},
                          Instruction{kBackward, 1}));
  EXPECT_THROW(one_forward_one_backward({2, 2, 2}, 0), InternalError);
  EXPECT_THROW(one_forward_one_backward({2, 1, 2}, 2), InternalError);
}

TEST(PipelineSchedule, IsProvenForManyShapes) {
  for (const int stages : {1, 2, 3, 8}) {
    for (const int micro_batches : {1, 2, 5, 16}) {
      for (int rank = 0; rank < stages; ++rank) {
        const PipelineShape shape{stages, 1, micro_batches};
        const int in_flight = std::min(stages - rank, micro_batches);
        const auto list = one_forward_one_backward(shape, rank);
        EXPECT_THAT(check_pipeline_schedule(list, shape, in_flight), IsEmpty());
        // Negative control: it does need as many.
        EXPECT_THAT(check_pipeline_schedule(list, shape, in_flight - 1), Contains(HasSubstr("in flight")));
      }
    }
  }
  const PipelineShape chunks{1, 3, 4};
  EXPECT_THAT(check_pipeline_schedule(one_forward_one_backward(chunks, 0), chunks, 1), IsEmpty());
}

// Every list with two neighbours swapped, one instruction left out, doubled or changed is wrong.
TEST(PipelineSchedule, FaultsAreFound) {
  const PipelineShape shape{1, 2, 3};
  const auto list = one_forward_one_backward(shape, 0);
  const auto faults = [&](const std::vector<Instruction>& changed) {
    return check_pipeline_schedule(changed, shape, 1);
  };
  ASSERT_THAT(faults(list), IsEmpty());
  for (std::size_t i = 0; i < list.size(); ++i) {
    std::vector<Instruction> changed = list;
    changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(faults(changed).empty()) << "without " << i;
    changed = list;
    changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(i), list[i]);
    EXPECT_FALSE(faults(changed).empty()) << "twice " << i;
    changed = list;
    changed[i].kind = list[i].kind == kForward ? kBackward : kForward;
    EXPECT_FALSE(faults(changed).empty()) << "the other way " << i;
    changed = list;
    changed[i].chunk = 1 - list[i].chunk;
    EXPECT_FALSE(faults(changed).empty()) << "the other chunk " << i;
    if (i + 1 == list.size()) continue;
    changed = list;
    std::swap(changed[i], changed[i + 1]);
    EXPECT_FALSE(faults(changed).empty()) << "swapped " << i;
  }
  EXPECT_THAT(faults({{kBackward, 0, 0}}), Contains(HasSubstr("backward 0.0")));
  EXPECT_THAT(faults({{kForward, 3, 0}}), Contains(HasSubstr("no such micro-batch")));
  EXPECT_THAT(faults({{kForward, 1, 0}}), Contains(HasSubstr("the data of micro-batch 0 is next")));
}

}  // namespace
}  // namespace ringtron
