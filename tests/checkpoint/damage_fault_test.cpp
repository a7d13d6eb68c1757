// Rotten bytes: any flipped bit and any lost file or end of file is found and the file named.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/random.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "tests/checkpoint/toy_state.h"
#include "tests/support/temp_dir.h"

namespace ringtron {
namespace {

using namespace testing;

class Damage : public ::testing::Test {
 protected:
  void SetUp() override { save(/*owners=*/1); }

  // As four ranks; of these so many share each slab.
  void save(int owners) {
    save_state(disk_, dir_.path(), 10, state_, 4 / owners, owners);
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) files_.push_back(entry.path());
    std::sort(files_.begin(), files_.end());
    ASSERT_EQ(files_.size(), 5u);  // four shards and the manifest
  }

  static void overwrite(const std::filesystem::path& path, std::string_view content) {
    OutputFile file(path);
    file.write(content);
    file.close();
  }

  // The message of loading everything as one process would; empty if the load succeeds.
  std::string load_error() {
    try {
      CheckpointReader reader(folder_);
      EXPECT_TRUE(loads_equal(reader, state_, 0, 1)) << "loaded without an error, but not what was saved";
      return "";
    } catch (const IoError& e) {
      return e.what();
    }
  }

  // The same with the ranks' shared check of all files instead of reads.
  std::string verify_error() {
    try {
      for (std::size_t rank = 0; rank < 3; ++rank) CheckpointReader(folder_).verify(rank, 3);
      return "";
    } catch (const IoError& e) {
      return e.what();
    }
  }

  // The file of this trial without damage, and with it: a flipped bit, or every fourth time a lost end.
  struct Trial {
    std::filesystem::path path;
    std::string intact, damaged;
  };
  Trial make_trial(std::uint64_t number) const {
    const auto word = [&](std::uint64_t index) { return random_word(7, number, index); };
    Trial trial{files_[word(0) % files_.size()], {}, {}};
    trial.intact = trial.damaged = read_file(trial.path);
    const std::size_t at = word(1) % trial.intact.size();
    if (number % 4 == 3) {
      trial.damaged.resize(at);
    } else {
      trial.damaged[at] = static_cast<char>(trial.damaged[at] ^ (1 << word(2) % 8));
    }
    return trial;
  }

  // 3,000 with the other fixture's. The negative control: with the intact file back nothing is found.
  void expect_damage_found() {
    constexpr std::uint64_t kTrials = 1500;
    std::uint64_t found = 0, false_alarms = 0;
    for (std::uint64_t number = 0; number < kTrials; ++number) {
      const Trial trial = make_trial(number);
      overwrite(trial.path, trial.damaged);
      const std::string name = trial.path.string(), by_load = load_error(), by_verify = verify_error();
      found += by_load.find(name) != std::string::npos && by_verify.find(name) != std::string::npos;
      overwrite(trial.path, trial.intact);
      if (number % 10 == 0) false_alarms += !load_error().empty() || !verify_error().empty();
    }
    EXPECT_EQ(found, kTrials);
    EXPECT_EQ(false_alarms, 0u);
    std::printf("%d of %d flipped bits and lost ends found, the file named\n", static_cast<int>(found),
                static_cast<int>(kTrials));
  }

  const std::vector<ToyTensor> state_ = toy_state(1);
  TempDir dir_;
  DiskFileSystem disk_;
  const std::filesystem::path folder_ = dir_ / "iter_0000010";
  std::vector<std::filesystem::path> files_;
};

TEST_F(Damage, IntactLoads) {
  EXPECT_EQ(load_error(), "");
  EXPECT_EQ(verify_error(), "");
}

TEST_F(Damage, RandomFlippedBitsAndLostEnds) { expect_damage_found(); }

// Pieces that are ranges of elements.
class DamageOfRanges : public Damage {
 protected:
  void SetUp() override { save(/*owners=*/2); }
};

TEST_F(DamageOfRanges, RandomFlippedBitsAndLostEnds) { expect_damage_found(); }

TEST_F(Damage, BytesAllOverAShardHeader) {
  const auto& path = files_[1];
  const std::string intact = read_file(path);
  const std::size_t header_end = intact.find("}}", 8) + 2;
  for (std::size_t i = 0; i < header_end; i += 5) {
    std::string flipped = intact;
    flipped[i] = static_cast<char>(flipped[i] ^ (1 << i % 8));
    overwrite(path, flipped);
    EXPECT_NE(verify_error().find(path.string()), std::string::npos) << "byte " << i;
  }
}

TEST_F(Damage, MissingTruncatedLongerAndForeignFiles) {
  for (const auto& path : files_) {
    const std::string intact = read_file(path);
    for (const std::size_t size : {std::size_t{0}, std::size_t{7}, intact.size() / 2, intact.size() - 1}) {
      overwrite(path, intact.substr(0, size));
      EXPECT_NE(load_error().find(path.string()), std::string::npos) << size;
      EXPECT_TRUE(checkpoint_problem(folder_)) << path << " cut at " << size;
    }
    overwrite(path, intact + "x");
    EXPECT_NE(load_error().find(path.string()), std::string::npos);
    std::filesystem::remove(path);
    EXPECT_NE(load_error().find(path.string()), std::string::npos);
    overwrite(path, intact);
  }
  TempDir other;  // the same shard of another run: intact, same size and names
  save_state(disk_, other.path(), 10, toy_state(2), 4);
  overwrite(files_[2], read_file(other / "iter_0000010" / files_[2].filename()));
  EXPECT_FALSE(checkpoint_problem(folder_));
  EXPECT_NE(load_error().find(files_[2].string()), std::string::npos);
}

TEST_F(Damage, ReadsThatDoNotTouchTheDamageSucceed) {
  // The last byte of a shard belongs to a tensor of narrow elements, the scalar to the wide ones at its
  // beginning.
  CheckpointReader reader(folder_);
  std::string content = read_file(files_[1]);
  content.back() = static_cast<char>(content.back() ^ 1);
  overwrite(files_[1], content);
  const ToyTensor& scalar = state_.back();
  std::vector<std::byte> out(8);
  EXPECT_NO_THROW(reader.read_slice(scalar.name, whole_slab({}), out));
  EXPECT_EQ(out, scalar.bytes);
}

}  // namespace
}  // namespace ringtron
