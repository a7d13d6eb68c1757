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
