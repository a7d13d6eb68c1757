// A Config survives JSON bit for bit, differences are named, and the start-up listing has Megatron's form.
#include "ringtron/config/config_text.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "ringtron/config/stored_config.h"

namespace ringtron {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

Config unusual() {
  Config config;
  config.optimizer.lr = 0.1 + 0.2;
  config.optimizer.start_weight_decay = 1e-300;
  config.batch.train_samples = 9'007'199'254'740'993;  // no double holds it
  config.data.data_path = {"0.5", "path with blank", "line\nbreak", "back\\slash"};
  config.checkpoint.save = "sau\xC3\xB6";
  config.parallel.hierarchical_context_parallel_sizes = {2, 4};
  config.model.add_bias_linear = false;
  return config;
}

TEST(ConfigJson, ComesBackEqual) {
  const Config config = unusual();
  const Config back = read_stored_config(nlohmann::json::parse(config_to_json(config))).config;
  EXPECT_EQ(fingerprint_text(back), fingerprint_text(config));
  EXPECT_EQ(back.optimizer.lr, config.optimizer.lr);
  EXPECT_EQ(back.batch.train_samples, config.batch.train_samples);
  EXPECT_EQ(back.optimizer.end_weight_decay, std::nullopt);
  EXPECT_NE(fingerprint_text(back), fingerprint_text(Config())) << "negative control";
}

TEST(Fingerprint, NamesEachDifference) {
  Config other;
  other.optimizer.lr = 1e-4;
  other.model.swiglu = true;
  EXPECT_THAT(diff_fingerprints(fingerprint_text(Config()), fingerprint_text(other)),
              ElementsAre("lr: 0.0 here, 0.0001 there", "swiglu: False here, True there"));
  EXPECT_THAT(diff_fingerprints(fingerprint_text(unusual()), fingerprint_text(unusual())), IsEmpty());
  EXPECT_THAT(diff_fingerprints("a=1\n", "b=2\n"), ElementsAre("a: 1 here, absent there", "b: absent here, 2 there"));
}

TEST(ArgumentDump, HasMegatronsForm) {
  Config config;
  config.optimizer.min_lr = 1e-5;
  const std::vector<std::string> lines = argument_dump(resolve(config, 8, 100).despite_faults());
  EXPECT_EQ(lines.front(), "------------------------ arguments ------------------------");
  EXPECT_EQ(lines.back(), "-------------------- end of arguments ---------------------");
  EXPECT_THAT(lines, Contains("  adam_beta1 ...................................... 0.9"));
  EXPECT_THAT(lines, Contains("  min_lr .......................................... 1e-05"));
  EXPECT_THAT(lines, Contains("  cp_comm_type .................................... ['p2p']"));
  EXPECT_THAT(lines, Contains("  save ............................................ None"));
  EXPECT_THAT(lines, Contains("  add_bias_linear ................................. True"));
  EXPECT_THAT(lines, Contains("  world_size ...................................... 8"));
  EXPECT_THAT(lines, Contains("  rotary_base ..................................... 10000.0"));
  EXPECT_TRUE(std::is_sorted(lines.begin() + 1, lines.end() - 1, [](const auto& a, const auto& b) {
    return a.substr(0, a.find(" .")) < b.substr(0, b.find(" ."));
  }));
}

}  // namespace
}  // namespace ringtron
