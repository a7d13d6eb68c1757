// A layer that does not exchange what it must is found in the first step, before the weights change.
#include "ringtron/train/exchange_check.h"

#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What the first step throws; "" if it does not.
std::string first_step(ToyTraining& run) {
  const auto loader = run.loader();
  try {
    run.parts().step().run(*loader);
  } catch (const InternalError& error) {
    return error.what();
  }
  return "";
}

DIST_TEST(ExchangeCheck, RightRunsPass, 1, 2, 4) {
  const SharedFolder folder(ranks);
  int number = 0;
  for (const std::string flags :
       {"--cp-comm-type p2p", "--cp-comm-type all_gather --window-size 5,0",
        "--cp-comm-type a2a --softmax-type learnable", "--cp-comm-type p2p --reset-attention-mask --cp-layout balanced",
        "--seq-length 2 --cp-comm-type a2a p2p"}) {
    ToyTraining run(
        ranks, number++,
        toy_config({1, ranks.size(), 1, false, 2}, folder.corpus(), fmt::format("{} {}", kLlamaLike, flags)));
    EXPECT_EQ(first_step(run), "") << flags;
    EXPECT_EQ(run.state().progress.iteration, 1);
    run.job().world().barrier();
  }
}

// Mamba layers too: both ways, with documents, whose states are fewer, and where a layer's forward runs twice.
DIST_TEST(ExchangeCheck, LayersOfAHybridModelAreCounted, 1, 2, 4) {
  const SharedFolder folder(ranks);
  int number = 0;
  for (const std::string flags :
       {"--cp-comm-type p2p", "--cp-comm-type a2a", "--cp-comm-type a2a --bf16",
        "--cp-comm-type p2p --reset-attention-mask --cp-layout balanced --bf16",
        "--cp-comm-type p2p --recompute-granularity full --recompute-method uniform --recompute-num-layers 2"}) {
    const std::string model = fmt::format(
        "{} --hybrid-layer-pattern M*M --num-layers 3 --mamba-head-dim 4 --mamba-num-groups 2 --mamba-state-dim 4 {}",
        kLlamaLike, flags);
    ToyTraining run(ranks, number++, toy_config({1, ranks.size(), 1, false, 2}, folder.corpus(), model));
    EXPECT_EQ(first_step(run), "") << flags;
    const auto& layers = run.parts().attention().proof().layers();
    ASSERT_EQ(layers.size(), 3u) << flags;
    for (const int layer : {0, 2}) EXPECT_EQ(layers.at(layer).done.bytes > 0, ranks.size() > 1) << flags;
    ExchangeProof fewer = run.parts().attention().proof();
    fewer.layer(2).done.bytes -= 4;
    EXPECT_THAT(
        [&] { require_proven_exchange(run.job(), fewer); },
        ::testing::ThrowsMessage<InternalError>(HasSubstr("layer 2: context-parallel rank 0 sent 4 bytes fewer")))
        << flags;
    run.job().world().barrier();
  }
}

DIST_TEST(ExchangeCheck, ASkippedExchangeStopsTheRunAndNamesTheLayer, 2, 4) {
  const SharedFolder folder(ranks);
  int number = 0;
  for (const std::string transport : {"p2p", "all_gather", "a2a"}) {
    const Config config = toy_config({1, 2, ranks.size() / 2, false, 2}, folder.corpus(),
                                     fmt::format("{} --cp-comm-type {}", kLlamaLike, transport));
    ToyTraining run(ranks, number++, config, faulty(CpFault::skip_exchange, 1));
    const LogicalTensors before = run.weights();
    const std::string message = first_step(run);
    EXPECT_THAT(message, HasSubstr("proof of exchange")) << transport;
    EXPECT_THAT(message, HasSubstr("layer 1: ")) << transport;
    EXPECT_THAT(message, HasSubstr("fewer")) << transport;
    EXPECT_THAT(message, Not(HasSubstr("layer 0: "))) << transport;
    EXPECT_EQ(run.state().progress.iteration, 0);
    for (const auto& [name, tensor] : run.weights()) EXPECT_TRUE(tensor.equal(before.at(name))) << name;
    run.job().world().barrier();
  }
}

DIST_TEST(ExchangeCheck, ABlockAttendedTwiceIsFound, 2) {
  const SharedFolder folder(ranks);
  ToyTraining run(ranks, 0, toy_config({1, 2, 1, false, 2}, folder.corpus(), kLlamaLike),
                  faulty(CpFault::double_count, 0));
  EXPECT_THAT(first_step(run), HasSubstr("layer 0: expected"));
}

DIST_TEST(ExchangeCheck, NoProofOfExchangeTurnsItOff, 2) {
  const SharedFolder folder(ranks);
  const std::string flags = fmt::format("{} --no-proof-of-exchange", kLlamaLike);
  ToyTraining run(ranks, 0, toy_config({1, 2, 1, false, 2}, folder.corpus(), flags), faulty(CpFault::skip_exchange, 1));
  EXPECT_EQ(first_step(run), "");
  EXPECT_EQ(run.state().progress.iteration, 1);
}

}  // namespace
}  // namespace ringtron::testing
