#include "ringtron/train/start_up/unfused_operations.h"

#include <gmock/gmock.h>

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Config usual() {
  Config config;
  config.model.num_layers = 2;
  config.model.hidden_size = 4096;
  config.model.num_attention_heads = 32;
  config.model.kv_channels = 128;
  config.model.ffn_hidden_size = 13696;
  config.model.padded_vocab_size = 50304;
  return config;
}

std::vector<std::string> told(const Config& config) {
  return unfused_operations(resolve(config, 1, 50257).despite_faults());
}

TEST(UnfusedOperations, AreToldWithTheirReason) {
  EXPECT_THAT(told(usual()), IsEmpty());
  Config config = usual();
  config.model.hidden_size = 4100;
  config.model.kv_channels = 100;
  config.model.ffn_hidden_size = 1001;
  EXPECT_THAT(told(config), ElementsAre(HasSubstr("--hidden-size 4100 is no multiple of 8"),
                                        HasSubstr("--ffn-hidden-size 1001 over 1 tensor ranks is no multiple of 8"),
                                        HasSubstr("heads of 100 channels are no multiple of 16")));
  config = usual();
  config.optimizer.optimizer = OptimizerType::sgd;
  EXPECT_THAT(told(config), ElementsAre("SGD runs as single operations, slower: it has no kernel of its own"));
  config.optimizer.optimizer = OptimizerType::muon;
  EXPECT_THAT(told(config), ElementsAre(HasSubstr("Muon has no kernel of its own")));
  config = usual();
  config.model.hidden_size = 32768;
  EXPECT_THAT(told(config), ElementsAre(HasSubstr("--hidden-size 32768 is above 16384")));
  config = usual();
  config.model.hybrid_layer_pattern = "M*";
  EXPECT_THAT(told(config), ElementsAre(HasSubstr("the scan of Mamba layers")));
  config.precision.bf16 = true;
  EXPECT_THAT(told(config), IsEmpty());
  config.model.mamba_head_dim = 128;
  EXPECT_THAT(told(config), ElementsAre(HasSubstr("--mamba-head-dim up to 64")));
  config = usual();
  config.precision.fp64 = true;
  EXPECT_THAT(told(config), ElementsAre(HasSubstr("--fp64")));
}

}  // namespace
}  // namespace ringtron
