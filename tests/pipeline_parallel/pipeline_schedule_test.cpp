// Lists of instructions are proven, and lists that are wrong are found to be so.
#include "ringtron/pipeline_parallel/pipeline_schedule.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Kind = Instruction::Kind;
using Lists = std::vector<std::vector<Instruction>>;

std::vector<std::string> faults_of(const Lists& lists, const PipelineShape& shape, PipelineFacts* facts = nullptr) {
  return check_pipeline([&](int rank) { return lists[static_cast<std::size_t>(rank)]; }, shape, false, facts);
}

template <class Make>
Lists lists_of(const PipelineShape& shape, Make make) {
  Lists lists;
  for (int rank = 0; rank < shape.stages; ++rank) lists.push_back(with_messages(make(shape, rank), shape, rank));
  return lists;
}

std::string words(const std::vector<Instruction>& list) {
  std::string text;
  for (const Instruction& one : list) text += to_string(one) + "\n";
  return text;
}

PipelineShape zero_bubble_shape(int stages, int micro_batches) {
  return {stages, 1, micro_batches, /*group=*/0, PipelineScheduleKind::zero_bubble};
}

TEST(PipelineSchedule, OfOneStageIsForwardAndBackwardInTurn) {
  EXPECT_THAT(one_forward_one_backward({1, 1, 2}, 0),
              ElementsAre(Instruction{Kind::forward, 0}, Instruction{Kind::backward, 0}, Instruction{Kind::forward, 1},
                          Instruction{Kind::backward, 1}));
  const PipelineSchedule chunks = one_forward_one_backward({1, 2, 1}, 0);
  EXPECT_THAT(chunks, ElementsAre(Instruction{Kind::forward, 0, 0}, Instruction{Kind::forward, 0, 1},
                                  Instruction{Kind::backward, 0, 1}, Instruction{Kind::backward, 0, 0}));
  EXPECT_EQ(with_messages(chunks, {1, 2, 1}, 0), chunks);
}

TEST(PipelineSchedule, OfSeveralStagesFillsThePipelineFirst) {
  const PipelineShape shape{2, 1, 2};
  EXPECT_EQ(words(with_messages(one_forward_one_backward(shape, 0), shape, 0)),
            "forward 0.0\nsend activation 0.0\nreceive gradient 0.0\nforward 1.0\nsend activation 1.0\n"
            "receive gradient 1.0\nbackward 0.0\nbackward 1.0\n");
  EXPECT_EQ(words(with_messages(one_forward_one_backward(shape, 1), shape, 1)),
            "receive activation 0.0\nforward 0.0\nreceive activation 1.0\nbackward 0.0\nsend gradient 0.0\n"
            "forward 1.0\nbackward 1.0\nsend gradient 1.0\n");
  EXPECT_THROW(one_forward_one_backward({2, 2, 2}, 0), InternalError);
  EXPECT_THROW(one_forward_one_backward({2, 1, 2}, 2), InternalError);
}

// Megatron-LM's example: PP 2, groups of 3, 5 micro-batches, 2 chunks.
TEST(PipelineSchedule, InterleavedGoesThroughChunksInGroups) {
  const PipelineShape shape{2, 2, 5, /*group=*/3};
  std::vector<std::pair<int, int>> forwards, backwards;
  for (const Instruction& one : interleaved(shape, 1))
    (one.kind == Kind::forward ? forwards : backwards).emplace_back(one.micro_batch, one.chunk);
  const std::vector<std::pair<int, int>> table = {{0, 0}, {1, 0}, {2, 0}, {0, 1}, {1, 1},
                                                  {2, 1}, {3, 0}, {4, 0}, {3, 1}, {4, 1}};
  EXPECT_EQ(forwards, table);
  ASSERT_EQ(backwards.size(), table.size());
  for (std::size_t i = 0; i < table.size(); ++i)
    EXPECT_EQ(backwards[i], std::make_pair(table[i].first, 1 - table[i].second));
  EXPECT_THROW(interleaved({2, 2, 5, 1}, 0), InternalError);
  EXPECT_THROW(interleaved({2, 2, 5, 4}, 0), InternalError) << "a last group of one";
}

TEST(PipelineSchedule, ZeroBubbleLeavesWeightGradients) {
  const PipelineShape shape = zero_bubble_shape(2, 2);
  EXPECT_EQ(words(with_messages(zero_bubble(shape, 1), shape, 1)),
            "receive activation 0.0\nforward 0.0\nreceive activation 1.0\nbackward 0.0\nsend gradient 0.0\n"
            "forward 1.0\nbackward 1.0\nsend gradient 1.0\nweight gradient 0.0\nweight gradient 1.0\n");
  EXPECT_THROW(zero_bubble(zero_bubble_shape(1, 2), 0), InternalError);
  EXPECT_THROW(zero_bubble({2, 2, 4}, 0), InternalError);
}

TEST(PipelineSchedule, TrainingRunsTheOneAskedFor) {
  const auto of = [](PipelineScheduleKind schedule, int stages, int chunks) {
    return training_schedule({stages, chunks, 4, /*group=*/0, schedule}, 0);
  };
  const PipelineShape two{2, 1, 4};
  EXPECT_EQ(of(PipelineScheduleKind::one_forward_one_backward, 2, 1), one_forward_one_backward(two, 0));
  EXPECT_EQ(of(PipelineScheduleKind::one_forward_one_backward, 2, 2), interleaved({2, 2, 4}, 0));
  EXPECT_EQ(of(PipelineScheduleKind::gpipe, 2, 1), gpipe(two, 0));
  EXPECT_EQ(of(PipelineScheduleKind::zero_bubble, 2, 1), zero_bubble(two, 0));
  for (const PipelineScheduleKind one : {PipelineScheduleKind::gpipe, PipelineScheduleKind::zero_bubble})
    EXPECT_EQ(of(one, 1, 1), one_forward_one_backward({1, 1, 4}, 0));
  EXPECT_EQ(most_in_flight({4, 1, 8, 0, PipelineScheduleKind::gpipe}, 1), 8);
}

TEST(PipelineSchedule, AllAreProvenUpToSixteenStagesEightChunksAndSixtyFourMicroBatches) {
  int proven = 0;
  for (const int stages : {1, 2, 3, 4, 7, 8, 16}) {
    for (const int micro_batches : {1, 2, 5, 8, 16, 64}) {
      const PipelineShape shape{stages, 1, micro_batches};
      PipelineFacts facts;
      EXPECT_THAT(faults_of(lists_of(shape, one_forward_one_backward), shape, &facts), IsEmpty());
      for (int rank = 0; rank < stages; ++rank)
        EXPECT_EQ(facts.in_flight[static_cast<std::size_t>(rank)], most_in_flight(shape, rank));
      EXPECT_LE(facts.receives, 2);
      EXPECT_THAT(faults_of(lists_of(shape, gpipe), shape, &facts), IsEmpty());
      EXPECT_THAT(facts.in_flight, Each(micro_batches));
      if (stages > 1) {
        const PipelineShape split = zero_bubble_shape(stages, micro_batches);
        EXPECT_THAT(faults_of(lists_of(split, zero_bubble), split, &facts), IsEmpty());
        EXPECT_THAT(facts.in_flight, Each(most_in_flight(shape, 0))) << "what the first rank keeps with 1F1B";
        EXPECT_EQ(most_in_flight(split, stages - 1), most_in_flight(shape, 0));
        EXPECT_LE(facts.receives, 2);
      }
      for (const int chunks : {2, 3, 8}) {
        const PipelineShape several{stages, chunks, micro_batches};
        EXPECT_THAT(
            check_pipeline([&](int rank) { return with_messages(forward_only(several, rank), several, rank); }, several,
                           /*forwards_only=*/true),
            IsEmpty());
        EXPECT_THAT(faults_of(lists_of(several, gpipe), several), IsEmpty());
        for (const int group : {stages, stages + 1, 2 * stages}) {
          const int rest = micro_batches % group;
          if (group > micro_batches || (rest != 0 && rest < stages)) continue;
          const PipelineShape grouped{stages, chunks, micro_batches, group};
          const Lists lists = lists_of(grouped, interleaved);
          EXPECT_THAT(faults_of(lists, grouped, &facts), IsEmpty()) << stages << " " << chunks << " " << micro_batches;
          for (int rank = 0; rank < stages && stages > 1; ++rank) {
            EXPECT_EQ(facts.in_flight[static_cast<std::size_t>(rank)], most_in_flight(grouped, rank));
          }
          ++proven;
        }
      }
    }
  }
  EXPECT_GT(proven, 100);
  EXPECT_EQ(most_in_flight({4, 1, 8}, 1), 3);
  EXPECT_EQ(most_in_flight({4, 2, 8}, 1), 2 * 2 + 4 + 1);
}

// Each list with one instruction left out, doubled, changed or swapped with another kind of work is wrong. Two messages
// side by side may swap.
TEST(PipelineSchedule, FaultsAreFound) {
  int found = 0;
  const auto expect_found = [&](const PipelineShape& shape, const Lists& lists) {
    ASSERT_THAT(faults_of(lists, shape), IsEmpty());
    for (std::size_t rank = 0; rank < lists.size(); ++rank) {
      const auto changed = [&](const char* how, std::size_t i, auto change) {
        Lists wrong = lists;
        change(wrong[rank]);
        if (wrong == lists) return;
        EXPECT_THAT(faults_of(wrong, shape), Not(IsEmpty())) << how << " " << i << " of rank " << rank;
        ++found;
      };
      for (std::size_t i = 0; i < lists[rank].size(); ++i) {
        const auto place = static_cast<std::ptrdiff_t>(i);
        changed("without", i, [&](auto& list) { list.erase(list.begin() + place); });
        changed("twice", i, [&](auto& list) { list.insert(list.begin() + place, lists[rank][i]); });
        changed("another micro-batch in", i, [&](auto& list) { list[i].micro_batch ^= 1; });
        changed("another chunk in", i, [&](auto& list) { list[i].chunk = (list[i].chunk + 1) % shape.chunks; });
        for (const Kind kind : {Kind::forward, Kind::backward, Kind::weight_gradient, Kind::receive_activation,
                                Kind::receive_gradient, Kind::send_activation, Kind::send_gradient}) {
          changed("another kind of", i, [&](auto& list) { list[i].kind = kind; });
        }
      }
    }
  };
  expect_found({1, 2, 3}, lists_of({1, 2, 3}, one_forward_one_backward));
  expect_found({3, 1, 4}, lists_of({3, 1, 4}, one_forward_one_backward));
  expect_found({2, 2, 4}, lists_of({2, 2, 4}, interleaved));
  expect_found({2, 1, 3}, lists_of({2, 1, 3}, gpipe));
  expect_found(zero_bubble_shape(3, 4), lists_of(zero_bubble_shape(3, 4), zero_bubble));
  EXPECT_GT(found, 700);
}

TEST(PipelineSchedule, FaultsAreNamed) {
  const PipelineShape one{1, 2, 3};
  EXPECT_THAT(faults_of({{{Kind::backward, 0, 0}}}, one), Contains(HasSubstr("rank 0, backward 0.0")));
  EXPECT_THAT(faults_of({{{Kind::forward, 3, 0}}}, one), Contains(HasSubstr("no such micro-batch")));
  EXPECT_THAT(faults_of({{{Kind::forward, 1, 0}}}, one), Contains(HasSubstr("the data of micro-batch 0 is next")));
  // Both wait for the other's message first.
  const PipelineShape two{2, 1, 2};
  Lists lists = lists_of(two, one_forward_one_backward);
  std::erase(lists[0], Instruction{Kind::send_activation, 0, 0});
  lists[0].push_back({Kind::send_activation, 0, 0});
  EXPECT_THAT(faults_of(lists, two), Contains(HasSubstr("expected send activation 0.0 as message 0, got")));
  lists = lists_of(two, one_forward_one_backward);
  std::erase(lists[0], Instruction{Kind::send_activation, 1, 0});
  lists[0].push_back({Kind::send_activation, 1, 0});
  EXPECT_THAT(faults_of(lists, two), Contains(HasSubstr("waits for ever for its message")));
}

}  // namespace
}  // namespace ringtron
