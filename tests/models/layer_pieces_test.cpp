#include "ringtron/models/layer_pieces.h"

#include <gmock/gmock.h>

namespace ringtron {
namespace {

using ::testing::ElementsAre;

TEST(LayerPieces, FollowTheFlags) {
  RecomputeConfig recompute;
  EXPECT_THAT(layer_pieces(recompute, 5), ElementsAre(LayerPiece{0, 5, false, false}));
  recompute.granularity = RecomputeGranularity::selective;
  EXPECT_THAT(layer_pieces(recompute, 5), ElementsAre(LayerPiece{0, 5, false, true}));
  recompute.granularity = RecomputeGranularity::full;
  recompute.method = RecomputeMethod::uniform;
  recompute.num_layers = 2;
  EXPECT_THAT(
      layer_pieces(recompute, 5),
      ElementsAre(LayerPiece{0, 2, true, true}, LayerPiece{2, 2, true, true}, LayerPiece{4, 1, true, true}));
  recompute.method = RecomputeMethod::block;
  EXPECT_THAT(layer_pieces(recompute, 5),
              ElementsAre(LayerPiece{0, 1, true, true}, LayerPiece{1, 1, true, true},
                          LayerPiece{2, 3, false, false}));
  EXPECT_THAT(layer_pieces(recompute, 2),
              ElementsAre(LayerPiece{0, 1, true, true}, LayerPiece{1, 1, true, true}));
}

}  // namespace
}  // namespace ringtron
