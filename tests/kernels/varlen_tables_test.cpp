// Tables of tiles: groups of similar length, and where their rows begin.
#include "ringtron/kernels/attention/varlen_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "ringtron/base/error.h"
#include "ringtron/base/random.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// In [0, 1).
double uniform(std::uint64_t seed, std::int64_t row) {
  return random_word(seed, 0, static_cast<std::uint64_t>(row)) * 0x1p-32;
}

// Squares of random lengths, one after the other, until `rows` are full.
std::vector<SampleTile> random_tiles(std::int64_t rows, std::int64_t longest, std::uint64_t seed) {
  std::vector<SampleTile> tiles;
  for (std::int64_t row = 0; row < rows;) {
    const double u = uniform(seed, row);
    const auto length = std::min(rows - row, std::max<std::int64_t>(1, static_cast<std::int64_t>(u * u * u * longest)));
    tiles.push_back({0, row, length, row, length});
    row += length;
  }
  return tiles;
}

TEST(VarlenGroups, HoldEveryTileOnceWithinTheirBounds) {
  for (const std::int64_t rows : {1, 100, 4096, 32768}) {
    for (const std::int64_t longest : {1, 300, 5000, 32768}) {
      const std::vector<SampleTile> tiles = random_tiles(rows, longest, 3);
      std::vector<std::int64_t> firsts;
      std::int64_t work = 0, alone = 0;
      for (const VarlenGroup& group : group_by_length(tiles, rows)) {
        EXPECT_LE(static_cast<std::int64_t>(group.tiles.size()), group.capacity);
        EXPECT_TRUE(std::has_single_bit(static_cast<std::uint64_t>(group.longest)));
        EXPECT_TRUE(std::has_single_bit(static_cast<std::uint64_t>(group.capacity)));
        for (const SampleTile& tile : group.tiles) {
          EXPECT_LE(std::max(tile.q_rows, tile.kv_rows), group.longest);
          firsts.push_back(tile.first_q);
        }
        work += 2 * rows + group.longest * group.capacity;
      }
      for (const SampleTile& tile : tiles)
        alone += std::max<std::int64_t>(256, std::bit_ceil(static_cast<std::uint64_t>(tile.q_rows)));
      std::sort(firsts.begin(), firsts.end());
      ASSERT_EQ(firsts.size(), tiles.size());
      for (std::size_t i = 0; i < tiles.size(); ++i) EXPECT_EQ(firsts[i], tiles[i].first_q);
      // No more than with a group for each class: their number rounded up, and a call.
      EXPECT_LE(work, 2 * alone + 8 * 2 * rows) << rows << " " << longest;
    }
  }
}

TEST(VarlenGroups, AreFew) {
  EXPECT_THAT(group_by_length({}, 100), IsEmpty());
  EXPECT_THAT(group_by_length({{0, 0, 700, 0, 700}, {0, 700, 324, 700, 324}}, 1024), SizeIs(1));
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    EXPECT_LE(group_by_length(random_tiles(32768, 16384, seed), 32768).size(), 4u);
  }
}

// One long tile among a few of half its length: a graph for eight long ones would start four times the rows.
TEST(VarlenGroups, StartFewRowsThatAreEmpty) {
  const std::vector<SampleTile> tiles = {
      {0, 0, 8000, 0, 8000}, {0, 8000, 4000, 8000, 4000}, {0, 12000, 4384, 12000, 4384}};
  const std::vector<VarlenGroup> groups = group_by_length(tiles, 16384);
  ASSERT_THAT(groups, SizeIs(1));
  EXPECT_EQ(groups[0].longest * groups[0].capacity, 8192 * 4);
  const std::vector<VarlenGroup> one = group_by_length({tiles[0]}, 16384);
  ASSERT_THAT(one, SizeIs(1));
  EXPECT_EQ(one[0].capacity, 1);
}

TEST(VarlenGroups, KeepLongAndManyShortTilesApart) {
  std::vector<SampleTile> tiles;
  for (std::int64_t row = 0; row < 16384; row += 16) tiles.push_back({0, row, 16, row, 16});
  tiles.push_back({0, 16384, 16384, 16384, 16384});
  const std::vector<VarlenGroup> groups = group_by_length(tiles, 32768);
  ASSERT_THAT(groups, SizeIs(2));
  EXPECT_EQ(groups[0].longest, 16384);
  EXPECT_EQ(groups[0].capacity, 1);
  EXPECT_EQ(groups[1].longest, 256);
  EXPECT_EQ(groups[1].capacity, 1024);
}

// The tables as a graph reads them.
struct Read {
  std::vector<std::int32_t> q_lengths, kv_lengths;
  std::vector<std::int64_t> q, kv, lse;
};

Read read_tables(const VarlenGroup& group, const VarlenShape& shape) {
  std::vector<std::int64_t> words(static_cast<std::size_t>(VarlenTables::words(group.capacity)), -1);
  fill_tables(group, shape, words.data());
  const auto* bytes = reinterpret_cast<const std::byte*>(words.data());
  const auto take = [&]<class T>(std::int64_t table, std::int64_t count, std::vector<T>& into) {
    EXPECT_EQ(table % 16, 0);
    EXPECT_LE(table + count * static_cast<std::int64_t>(sizeof(T)), VarlenTables::words(group.capacity) * 8);
    into.resize(static_cast<std::size_t>(count));
    std::memcpy(into.data(), bytes + table, into.size() * sizeof(T));
  };
  Read read;
  take(VarlenTables::q_lengths(), group.capacity, read.q_lengths);
  take(VarlenTables::kv_lengths(group.capacity), group.capacity, read.kv_lengths);
  take(VarlenTables::q_offsets(group.capacity), group.capacity + 1, read.q);
  take(VarlenTables::kv_offsets(group.capacity), group.capacity + 1, read.kv);
  take(VarlenTables::lse_offsets(group.capacity), group.capacity + 1, read.lse);
  return read;
}

const VarlenShape kShape{.s_q = 10, .s_kv = 20, .samples = 2, .n = 4, .g = 2, .d = 8};
const VarlenGroup kGroup{.longest = 256, .capacity = 8, .tiles = {{0, 3, 2, 5, 4}, {1, 0, 1, 7, 1}}};

TEST(VarlenTables, SayLengthsAndWhereRowsBeginAndEndWithNothing) {
  const Read read = read_tables(kGroup, kShape);
  EXPECT_THAT(read.q_lengths, ElementsAre(2, 1, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(read.kv_lengths, ElementsAre(4, 1, 0, 0, 0, 0, 0, 0));
  // Row 3 of sample 0 is token 6, row 0 of sample 1 is token 1; a token of q has 32 numbers, one of k 16.
  EXPECT_THAT(std::vector(read.q.begin(), read.q.begin() + 3), ElementsAre(6 * 32, 1 * 32, 20 * 32));
  EXPECT_THAT(std::vector(read.kv.begin(), read.kv.begin() + 3), ElementsAre(10 * 16, 15 * 16, 40 * 16));
  EXPECT_THAT(std::vector(read.lse.begin(), read.lse.begin() + 3), ElementsAre(6 * 4, 1 * 4, 20 * 4));
  EXPECT_EQ(read.q.back(), 20 * 32);
}

TEST(VarlenTables, OfAnyCapacity) {
  for (const std::int64_t capacity : {1, 2, 4, 16}) {
    const Read read = read_tables({.longest = 256, .capacity = capacity, .tiles = {{1, 4, 3, 6, 3}}}, kShape);
    EXPECT_EQ(read.q_lengths.front(), 3);
    EXPECT_EQ(read.kv_lengths.front(), 3);
    EXPECT_EQ(read.q.front(), 9 * 32);
    EXPECT_EQ(read.kv.front(), 13 * 16);
    EXPECT_EQ(read.lse.front(), 9 * 4);
    EXPECT_EQ(read.q.back(), 20 * 32);
    EXPECT_EQ(read.lse.back(), 20 * 4);
  }
}

TEST(VarlenTables, RefuseTilesOutsideTheTensors) {
  const SampleTile outside[] = {{2, 0, 1, 0, 1}, {0, 9, 2, 0, 1}, {0, 0, 1, 19, 2}, {0, 0, 0, 0, 1}, {0, 0, 1, 0, 0}};
  for (const SampleTile& tile : outside) {
    EXPECT_THROW(read_tables({.longest = 256, .capacity = 8, .tiles = {tile}}, kShape), InternalError);
  }
}

}  // namespace
}  // namespace ringtron
