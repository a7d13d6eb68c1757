// The schedules against tables written by tests/golden/lr_schedule.py, and their rules and checkpoint form.
#include "ringtron/optim/lr_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

constexpr double kSameFormula = 1e-13;  // relative; the golden script associates the products differently

LrScheduleOptions cosine() {
  LrScheduleOptions o;
  o.max_lr = 1e-4;
  o.min_lr = 1e-5;
  o.decay_samples = 1000;
  o.warmup_samples = 100;
  o.decay_style = LrDecayStyle::cosine;
  o.start_weight_decay = o.end_weight_decay = 0.01;
  return o;
}

std::string refusal(const LrScheduleOptions& o) {
  try {
    LrSchedule schedule(o);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

// Limits of their own, all else the same: what a schedule with these limits gives.
TEST(LrSchedule, DecoupledRatesFollowTheirOwnLimits) {
  LrScheduleOptions own = cosine();
  own.max_lr = 3e-3;
  own.min_lr = 2e-5;
  LrSchedule schedule(cosine(), LrLimits{3e-3, 2e-5}), alone(cosine()), expected(own);
  EXPECT_FALSE(alone.rates().decoupled.has_value());
  for (int step = 0; step < 25; ++step) {
    EXPECT_EQ(schedule.rates().lr, alone.lr()) << step;
    EXPECT_EQ(schedule.rates().decoupled, expected.lr()) << step;
    for (LrSchedule* s : {&schedule, &alone, &expected}) s->advance(50);
  }
  EXPECT_EQ(schedule.state(), alone.state()) << "no checkpoint knows of them";
}

TEST(LrSchedule, MatchesGoldenTable) {
  std::ifstream table(RINGTRON_SOURCE_DIR "/tests/golden/lr_schedule.txt");
  LrScheduleOptions o;
  std::int64_t n = 0;
  double lr = 0.0, wd = 0.0;
  int rows = 0;
  std::string decay, last_phase, increase;
  while (table >> decay >> last_phase >> o.max_lr >> o.min_lr >> o.init_lr >> o.warmup_samples >> o.decay_samples >>
         o.wsd_decay_samples >> o.start_weight_decay >> o.end_weight_decay >> increase >> o.weight_decay_incr_samples >>
         n >> lr >> wd) {
    o.decay_style = find_choice<LrDecayStyle>(decay).value();
    o.wsd_decay_style = find_choice<WsdDecayStyle>(last_phase).value();
    o.weight_decay_incr_style = find_choice<WeightDecayStyle>(increase).value();
    LrSchedule schedule(o);
    schedule.advance(n);
    EXPECT_NEAR(schedule.lr(), lr, kSameFormula * o.max_lr) << decay << " " << last_phase << " " << n;
    EXPECT_NEAR(schedule.weight_decay(), wd, kSameFormula) << increase << " " << n;
    ++rows;
  }
  EXPECT_EQ(rows, 8 * 3 * 18);
}

TEST(LrSchedule, FirstStepOfAWarmUpUsesTheInitialRate) {
  LrSchedule schedule(cosine());
  EXPECT_EQ(schedule.lr(), 0.0);
  schedule.advance(50);
  EXPECT_DOUBLE_EQ(schedule.lr(), 0.5e-4);
  schedule.advance(50);
  EXPECT_DOUBLE_EQ(schedule.lr(), 1e-4);
}

TEST(LrSchedule, RefusesContradictionsAllAtOnce) {
  LrScheduleOptions o = cosine();
  o.min_lr = 1.0;
  o.warmup_samples = 1000;
  EXPECT_THAT(refusal(o), testing::AllOf(testing::HasSubstr("--min-lr"), testing::HasSubstr("warm-up")));
  EXPECT_EQ(refusal(cosine()), "");
  LrScheduleOptions wsd = cosine();
  wsd.decay_style = LrDecayStyle::wsd;
  EXPECT_THAT(refusal(wsd), testing::HasSubstr("--lr-wsd-decay-iters"));
  LrScheduleOptions decay = cosine();
  decay.end_weight_decay = 0.5;
  EXPECT_THAT(refusal(decay), testing::HasSubstr("constant"));
}

TEST(LrSchedule, StateRoundTripIsExact) {
  LrScheduleOptions o = cosine();
  o.max_lr = 1.0 / 3.0;
  o.warmup_samples = 1.0 / 7.0;
  LrSchedule saved(o), loaded(o);
  saved.advance(777);
  loaded.load(saved.state(), ScheduleConflict::refuse);
  EXPECT_EQ(loaded.samples(), 777);
  EXPECT_EQ(loaded.lr(), saved.lr());
}

TEST(LrSchedule, LoadComparesOrChooses) {
  LrSchedule saved(cosine());
  saved.advance(300);
  LrScheduleOptions changed = cosine();
  changed.max_lr = 2e-4;
  changed.decay_samples = 4000;
  LrSchedule schedule(changed);
  try {
    schedule.load(saved.state(), ScheduleConflict::refuse);
    ADD_FAILURE() << "expected a refusal";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(),
                testing::AllOf(testing::HasSubstr("--lr: 0.0002 on the command line, 0.0001 in the checkpoint\n"),
                               testing::HasSubstr("length of the decay: 4000 samples on the command line, 1000 in the "
                                                  "checkpoint (--lr-decay-iters, else --train-iters, x "
                                                  "--global-batch-size;")));
  }
  EXPECT_EQ(schedule.samples(), 0);
  schedule.load(saved.state(), ScheduleConflict::override_checkpoint);
  EXPECT_EQ(schedule.options(), changed);
  EXPECT_EQ(schedule.samples(), 300);
  schedule.load(saved.state(), ScheduleConflict::use_checkpoint);
  EXPECT_EQ(schedule.options(), cosine());
  EXPECT_EQ(schedule.lr(), saved.lr());
}

// Of every value a difference names a flag, and none of our own names.
TEST(LrSchedule, DifferencesNameFlags) {
  const ScheduleState saved = LrSchedule(cosine()).state();
  for (const auto& [key, value] : saved) {
    if (key == "num_steps") continue;
    LrSchedule schedule(cosine());
    ScheduleState other = saved;
    other[key] = key.ends_with("style") ? "linear" : "7";
    if (other[key] == value) continue;
    try {
      schedule.load(other, ScheduleConflict::refuse);
      ADD_FAILURE() << key << ": expected a refusal";
    } catch (const ConfigError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.substr(0, text.find("\nGive")).find("--"), std::string::npos) << text;
      EXPECT_EQ(text.find(key), std::string::npos) << text;
    }
  }
}

TEST(LrSchedule, DamagedStateIsRefused) {
  LrSchedule schedule(cosine());
  ScheduleState state = schedule.state();
  state["max_lr"] = "fast";
  EXPECT_THROW(schedule.load(state, ScheduleConflict::refuse), ConfigError);
  state = schedule.state();
  state["lr_decay_style"] = "cosin";
  EXPECT_THROW(schedule.load(state, ScheduleConflict::use_checkpoint), ConfigError);
  state = schedule.state();
  state.erase("num_steps");
  EXPECT_THROW(schedule.load(state, ScheduleConflict::override_checkpoint), ConfigError);
}

}  // namespace
}  // namespace ringtron
