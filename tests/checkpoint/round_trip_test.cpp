// Saved under one layout, loaded under another: every byte as before.
#include <gtest/gtest.h>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/checkpoint_reader.h"
#include "ringtron/checkpoint/describe_checkpoint.h"
#include "tests/checkpoint/toy_state.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using namespace testing;

TEST(RoundTrip, EveryTensorParallelSizeLoadsUnderEveryOther) {
  DiskFileSystem disk;
  for (const int saved : {1, 2, 4, 8}) {
    TempDir dir;
    const auto state = toy_state(static_cast<std::uint64_t>(saved));
    save_state(disk, dir.path(), 2000, state, saved);
    for (const int loaded : {1, 2, 4, 8}) {
      for (int rank = 0; rank < loaded; ++rank) {
        CheckpointReader reader(dir / "iter_0002000");
        EXPECT_TRUE(loads_equal(reader, state, rank, loaded)) << saved << " to " << loaded << ", rank " << rank;
      }
    }
    CheckpointReader reader(dir / "iter_0002000");
    EXPECT_FALSE(loads_equal(reader, toy_state(99), 0, 1));  // negative control
  }
}

// Ranges that begin and end within rows, as owners of a distributed optimizer's shards have them.
TEST(RoundTrip, RangesOfElementsLoadUnderEveryTensorParallelSize) {
  DiskFileSystem disk;
  for (const int saved : {1, 2, 4}) {
    TempDir dir;
    const auto state = toy_state(static_cast<std::uint64_t>(saved));
    save_state(disk, dir.path(), 2000, state, saved, /*owners=*/3);
    CheckpointReader(dir / "iter_0002000").verify();
    for (const int loaded : {1, 2, 4, 8}) {
      for (int rank = 0; rank < loaded; ++rank) {
        CheckpointReader reader(dir / "iter_0002000");
        EXPECT_TRUE(loads_equal(reader, state, rank, loaded)) << saved << " to " << loaded << ", rank " << rank;
      }
    }
    CheckpointReader reader(dir / "iter_0002000");
    EXPECT_FALSE(loads_equal(reader, toy_state(99), 0, 1));  // negative control
    EXPECT_NE(describe_checkpoint(dir.path()).find("ranges of elements"), std::string::npos);
  }
}

TEST(RoundTrip, MetadataAndTrackerComeBack) {
  TempDir dir;
  DiskFileSystem disk;
  save_state(disk, dir / "new/folder", 12, toy_state(1), 2);
  CheckpointReader reader(dir / "new/folder/iter_0000012");
  EXPECT_EQ(reader.iteration(), 12);
  EXPECT_EQ(reader.metadata().at("consumed_samples"), 96);
  EXPECT_EQ(reader.metadata().at("layout").at("tp"), 2);
  EXPECT_EQ(read_file(dir / "new/folder/latest_checkpointed_iteration.txt"), "12");
  for (const auto& entry : std::filesystem::directory_iterator(dir / "new/folder")) {
    const std::string name = entry.path().filename();
    EXPECT_TRUE(name == ".lease" || name == "iter_0000012" || name == "latest_checkpointed_iteration.txt") << name;
  }
}

// Along whichever dim other layouts cut it.
TEST(RoundTrip, AWholeTensorIsOnePieceUnderItsPlainName) {
  TempDir dir;
  DiskFileSystem disk;
  save_state(disk, dir.path(), 3, toy_state(1), 1);
  const Manifest manifest = read_complete_manifest(dir / "iter_0000003");
  for (const ToyTensor& tensor : toy_state(1)) {
    if (tensor.cut == Cut::gated) continue;  // two slices by construction
    const TensorEntry& entry = manifest.tensors.at(tensor.name);
    ASSERT_EQ(entry.pieces.size(), 1u) << tensor.name;
    EXPECT_EQ(entry.pieces[0].tensor, tensor.name);
    EXPECT_EQ(entry.dim, 0) << tensor.name;
  }
}

TEST(RoundTrip, UnknownTensorNamesTheNearest) {
  TempDir dir;
  DiskFileSystem disk;
  save_state(disk, dir.path(), 1, toy_state(1), 1);
  CheckpointReader reader(dir / "iter_0000001");
  EXPECT_FALSE(reader.has("model.decoder.final_layernorm.weigth"));
  try {
    reader.tensor("model.decoder.final_layernorm.weigth");
    FAIL() << "no error";
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("model.decoder.final_layernorm.weight"), std::string::npos) << e.what();
  }
}

TEST(RoundTrip, ShardsThatDoNotCoverATensorAreNotPublished) {
  TempDir dir;
  DiskFileSystem disk;
  const SaveLease lease(dir.path());
  CheckpointWriter writer(disk, dir.path(), 5);
  writer.prepare(lease);
  const std::vector<std::byte> bytes(8);
  const TensorSlice half[] = {{"w", DType::f32, {4}, {0, 0, 2}, bytes}};
  const std::vector<std::string> parts = {writer.write_shard(0, half)};
  EXPECT_THROW(writer.publish(parts, nlohmann::json::object()), InternalError);
  EXPECT_FALSE(std::filesystem::exists(dir / "iter_0000005"));
  EXPECT_FALSE(std::filesystem::exists(dir / ".iter_0000005.partial"));
}

TEST(RoundTrip, WrongSizesAreOurMistake) {
  TempDir dir;
  DiskFileSystem disk;
  const SaveLease lease(dir.path());
  CheckpointWriter writer(disk, dir.path(), 5);
  writer.prepare(lease);
  const std::vector<std::byte> bytes(8);
  const TensorSlice too_short[] = {{"w", DType::f32, {4}, {0, 0, 4}, bytes}};
  EXPECT_THROW(writer.write_shard(0, too_short), InternalError);
  EXPECT_EQ(writer.write_shard(0, {}), "");
}

TEST(RoundTrip, DescribesTensorsLayoutAndMetadata) {
  TempDir dir;
  DiskFileSystem disk;
  std::vector<ToyTensor> state = toy_state(1);
  for (const char* layer : {"10", "2"}) {
    state.push_back(state.front());
    state.back().name = std::string("model.decoder.layers.") + layer + ".mlp.linear_fc1.weight";
  }
  save_state(disk, dir.path(), 7, state, 4);
  const std::string text = describe_checkpoint(dir.path());
  EXPECT_EQ(text, describe_checkpoint(dir / "iter_0000007"));
  for (const char* part : {"iteration: 7", "files: 4", "model.decoder.layers.0.mlp.linear_fc1.weight", "[32, 6]",
                           "dim 0: 4 + 4 + 4 + 4 + 4 + 4 + 4 + 4", "\"consumed_samples\": 56", "BF16", "whole"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is missing in\n" << text;
  }
  EXPECT_THROW(describe_checkpoint(dir / "nothing"), IoError);
  EXPECT_LT(text.find("model.decoder.layers.2."), text.find("model.decoder.layers.10."));
  EXPECT_LT(text.find("model.decoder.layers.10."), text.find("optimizer."));
}

}  // namespace
}  // namespace ringtron
