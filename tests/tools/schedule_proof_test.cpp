#include "ringtron/tools/verify/schedule_proof.h"

#include <gmock/gmock.h>

#include <variant>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/config/parse.h"
#include "ringtron/context_parallel/plan/transport.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::ThrowsMessage;

std::string proof_of(const std::string& flags, int world_size) {
  const std::string line =
      "--num-layers 4 --hidden-size 96 --num-attention-heads 12 --max-position-embeddings 131072 --micro-batch-size 1 "
      "--global-batch-size 8 --train-iters 10 --lr 1e-4 --mock-data --tokenizer-type NullTokenizer --vocab-size 500 " +
      flags;
  std::vector<std::string> words;
  for (std::string& word : split(line, ' ')) {
    if (!word.empty()) words.push_back(std::move(word));
  }
  return prove_schedules(std::get<CommandLine>(parse_command_line(words, world_size)).config, world_size);
}

TEST(ScheduleProof, OfTheSizesAsTheyAreGiven) {
  EXPECT_THAT(proof_of("--seq-length 1024 --context-parallel-size 4", 4),
              MatchesRegex("schedules proven: p2p over 4 ranks, 1024 positions, [0-9]+ operations"));
  EXPECT_THAT(proof_of("--seq-length 1021 --context-parallel-size 4 --cp-comm-type a2a p2p all_gather a2a "
                       "--window-size 100 0 --cp-layout contiguous",
                       4),
              HasSubstr("proven: a2a, p2p, all_gather over 4 ranks, 1021 positions"));
  EXPECT_THAT(proof_of("--seq-length 64", 1), HasSubstr("p2p over 1 rank, 64 positions"));
}

TEST(ScheduleProof, OfAllThatAutoMayChoose) {
  EXPECT_THAT(proof_of("--seq-length 512 --context-parallel-size 2 --cp-comm-type auto", 2),
              HasSubstr("p2p, all_gather, a2a over 2 ranks"));
  EXPECT_THAT(proof_of("--seq-length 512 --context-parallel-size 4 --tensor-model-parallel-size 2 --sequence-parallel "
                       "--cp-comm-type auto --hierarchical-context-parallel-sizes 2 2",
                       8),
              HasSubstr("p2p, all_gather, a2a, a2a+p2p over 4 ranks"));
}

TEST(ScheduleProof, OfAModelWithoutAttention) {
  EXPECT_THAT(proof_of("--seq-length 64 --context-parallel-size 2 --hybrid-layer-pattern MM-M --mamba-num-groups 1", 2),
              HasSubstr("no layer has attention"));
}

TEST(ScheduleProof, LooksAtDocumentsToo) {
  const auto operations = [](const std::string& line) { return std::stoi(line.substr(line.rfind(", ") + 2)); };
  const std::string flags = "--seq-length 512 --context-parallel-size 4 --cp-layout balanced";
  EXPECT_GT(operations(proof_of(flags + " --reset-attention-mask", 4)), operations(proof_of(flags, 4)));
}

TEST(ScheduleProof, OfLongSequencesAtAShorterLengthThatDividesAlike) {
  EXPECT_THAT(proof_of("--seq-length 131071 --context-parallel-size 16", 16),
              HasSubstr("over 16 ranks, 65567 of 131071 positions"));
  EXPECT_EQ(proof_of("--seq-length 131072 --context-parallel-size 128", 128),
            "schedules not proven: 128 context-parallel ranks (at most 64)");
}

// A ring that forgets what a rank computes in its last step.
RankPlan forgetful(const PlanRequest& request, int rank) {
  RankPlan plan = plan_p2p(request, rank);
  plan.forward.steps.back().tasks.clear();
  return plan;
}

TEST(ScheduleProof, AWrongTransportIsRefused) {
  add_transport({.name = {.word = "forgetful"}, .plan = forgetful});
  EXPECT_THAT([] { proof_of("--seq-length 64 --context-parallel-size 2 --cp-comm-type forgetful", 2); },
              ThrowsMessage<InternalError>(
                  AllOf(HasSubstr("--cp-comm-type forgetful over 2 ranks are wrong"),
                        HasSubstr("forward: query 16 of sample 0: expected keys [0-17), got [16-17)"))));
}

}  // namespace
}  // namespace ringtron
