// The recompute flags as layers and segments.
#include "ringtron/models/recompute_segments.h"

#include <gmock/gmock.h>

#include "ringtron/modules/layer_options.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Field;

std::vector<LayerSpec> layers_of(const RecomputeConfig& recompute, int layers) {
  Config config;
  config.model.num_layers = layers;
  config.recompute = recompute;
  return layer_specs(resolve(config, 1, 1).despite_faults(), {});
}

TEST(RecomputeSegments, FollowTheFlags) {
  RecomputeConfig recompute;
  const auto segments_of = [&](int layers) { return recompute_segments(layers_of(recompute, layers)); };
  EXPECT_THAT(segments_of(5), ElementsAre(RecomputeSegment{0, 5, false}));
  EXPECT_THAT(layers_of(recompute, 5), Each(Field(&LayerSpec::recompute, LayerRecompute::none)));
  recompute.granularity = RecomputeGranularity::selective;
  recompute.modules = {"layernorm"};
  EXPECT_THAT(layers_of(recompute, 5), Each(Field(&LayerSpec::recompute, LayerRecompute::none)));
  recompute.modules = {"core_attn", "layernorm"};
  EXPECT_THAT(segments_of(5), ElementsAre(RecomputeSegment{0, 5, false}));
  EXPECT_THAT(layers_of(recompute, 5), Each(Field(&LayerSpec::recompute, LayerRecompute::core_attention)));
  recompute.granularity = RecomputeGranularity::full;
  recompute.method = RecomputeMethod::uniform;
  recompute.num_layers = 2;
  EXPECT_THAT(segments_of(5),
              ElementsAre(RecomputeSegment{0, 2, true}, RecomputeSegment{2, 2, true}, RecomputeSegment{4, 1, true}));
  recompute.method = RecomputeMethod::block;
  EXPECT_THAT(segments_of(5),
              ElementsAre(RecomputeSegment{0, 1, true}, RecomputeSegment{1, 1, true}, RecomputeSegment{2, 3, false}));
  EXPECT_THAT(segments_of(2), ElementsAre(RecomputeSegment{0, 1, true}, RecomputeSegment{1, 1, true}));
}

}  // namespace
}  // namespace ringtron
