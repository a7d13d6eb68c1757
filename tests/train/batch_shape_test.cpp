#include "ringtron/train/batch_shape.h"

#include <gmock/gmock.h>

#include "tests/train/toy_training.h"

namespace ringtron::testing {
namespace {

Config config_of(const std::string& flags, const Layout& layout = {1, 4, 1, false, 2}) {
  return toy_config(layout, "corpus", fmt::format("{} {}", kLlamaLike, flags));
}

ResolvedConfig resolved(const Config& config) {
  const ParallelConfig& p = config.parallel;
  return resolve(config, p.tensor_model_parallel_size * p.context_parallel_size, config.data.vocab_size).valid();
}

std::shared_ptr<const BatchShape> shape_of(const Config& given, const DocumentStarts& documents = {}) {
  const ResolvedConfig config = resolved(given);
  std::vector<CpTransport> transports;
  for (const std::string& word : config->parallel.cp_comm_type) transports.push_back(transport_of(word));
  return make_batch_shape(config, documents, transports);
}

double triangle(double length) { return length * (length + 1) / 2; }

TEST(BatchShape, DenseSamplesCountTheirTriangle) {
  const auto shape = shape_of(config_of(""));
  EXPECT_EQ(shape->attention_cells, 2 * triangle(32));  // two samples
  EXPECT_EQ(shape->area_imbalance, 1.0);                // zigzag
  EXPECT_EQ(shape->sequence->layout, zigzag_layout(32, 4));
  EXPECT_TRUE(shape->sequence->document_starts.empty());
}

TEST(BatchShape, DocumentsCountTheirOwnTriangles) {
  const auto shape = shape_of(config_of("--reset-attention-mask"), {{8, 20}, {}});
  EXPECT_EQ(shape->attention_cells, triangle(8) + 2 * triangle(12) + triangle(32));
  EXPECT_EQ(shape->sequence->document_starts[0], (std::vector<std::int64_t>{8, 20}));
  EXPECT_GE(shape->area_imbalance, 1.0);
}

TEST(BatchShape, WindowsCountWhatTheySee) {
  // The first query sees 1 key, the second 2, all others 3.
  EXPECT_EQ(shape_of(config_of("--window-size 2,0"))->attention_cells, 2 * (1 + 2 + 30 * 3));
}

TEST(BatchShape, ImbalanceIsThatOfTheLayout) {
  // Rank 3 of 4 has 25 + ... + 32 pairs of 1 + ... + 32.
  const auto contiguous = shape_of(config_of("--cp-layout contiguous"));
  EXPECT_NEAR(contiguous->area_imbalance, 228.0 / (528.0 / 4), 1e-12);
  EXPECT_LT(shape_of(config_of("--cp-layout balanced"))->area_imbalance, 1.1);
}

TEST(BatchShape, RanksThatShareHeadsShareTheirPositions) {
  const auto imbalance = [](const std::string& flags) {
    return shape_of(config_of("--cp-layout contiguous " + flags))->area_imbalance;
  };
  EXPECT_EQ(imbalance("--cp-comm-type a2a"), 1.0);
  // Two groups of two ranks: the second has 17 + ... + 32 pairs.
  const std::string two_by_two = " --hierarchical-context-parallel-sizes 2 2";
  EXPECT_NEAR(imbalance("--cp-comm-type a2a+p2p" + two_by_two), 392.0 / (528.0 / 2), 1e-12);
  EXPECT_NEAR(imbalance("--cp-comm-type a2a p2p"), 228.0 / (528.0 / 4), 1e-12);
}

TEST(BatchShape, AutoCountsAsWhatItHasChosen) {
  const ResolvedConfig config = resolved(config_of("--cp-layout contiguous --cp-comm-type auto"));
  const auto imbalance = [&](std::vector<CpTransport> chosen) {
    return make_batch_shape(config, {}, chosen)->area_imbalance;
  };
  EXPECT_EQ(imbalance({CpTransport::a2a}), 1.0);
  EXPECT_NEAR(imbalance({CpTransport::p2p}), 228.0 / (528.0 / 4), 1e-12);
  EXPECT_NEAR(imbalance({CpTransport::all_gather}), 228.0 / (528.0 / 4), 1e-12);
}

TEST(BatchShape, SequenceParallelismNeedsShardsThatDivide) {
  const auto shape = shape_of(config_of("--seq-length 26", {2, 3, 1, true, 2}));
  for (int r = 0; r < 3; ++r) EXPECT_EQ(shape->sequence->layout.local_length(r) % 2, 0) << r;
}

}  // namespace
}  // namespace ringtron::testing
