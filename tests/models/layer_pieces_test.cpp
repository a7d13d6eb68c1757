// The recompute flags as layers and pieces.
#include "ringtron/models/layer_pieces.h"

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

TEST(LayerPieces, FollowTheFlags) {
  RecomputeConfig recompute;
  const auto pieces_of = [&](int layers) { return layer_pieces(layers_of(recompute, layers)); };
  EXPECT_THAT(pieces_of(5), ElementsAre(LayerPiece{0, 5, false}));
  EXPECT_THAT(layers_of(recompute, 5), Each(Field(&LayerSpec::recompute, LayerRecompute::none)));
  recompute.granularity = RecomputeGranularity::selective;
  EXPECT_THAT(pieces_of(5), ElementsAre(LayerPiece{0, 5, false}));
  EXPECT_THAT(layers_of(recompute, 5), Each(Field(&LayerSpec::recompute, LayerRecompute::core_attention)));
  recompute.granularity = RecomputeGranularity::full;
  recompute.method = RecomputeMethod::uniform;
  recompute.num_layers = 2;
  EXPECT_THAT(pieces_of(5),
              ElementsAre(LayerPiece{0, 2, true}, LayerPiece{2, 2, true}, LayerPiece{4, 1, true}));
  recompute.method = RecomputeMethod::block;
  EXPECT_THAT(pieces_of(5),
              ElementsAre(LayerPiece{0, 1, true}, LayerPiece{1, 1, true}, LayerPiece{2, 3, false}));
  EXPECT_THAT(pieces_of(2), ElementsAre(LayerPiece{0, 1, true}, LayerPiece{1, 1, true}));
}

}  // namespace
}  // namespace ringtron
