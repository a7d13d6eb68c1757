#include "ringtron/kernels/attention/varlen_tables.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <tuple>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

// Below this, blocks of the kernels (128 rows) are not filled anyway.
constexpr std::int64_t kShortestClass = 256;
constexpr std::int64_t kLargestCapacity = 16384;  // a CUDA grid has at most 65535 blocks in two of its directions
// What a call costs, in started rows for each token. On an H200, with 32 heads, another call forward and backward took
// about 0.2 ms at 8K tokens, and a started row 3 ns in the least of its three kernels.
constexpr std::int64_t kRowsPerCall = 2;

std::int64_t power_of_two(std::int64_t x) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(x)));
}

std::int64_t length_of(const SampleTile& tile) { return std::max(tile.q_rows, tile.kv_rows); }

std::int64_t class_of(const SampleTile& tile) { return std::max(kShortestClass, power_of_two(length_of(tile))); }

// Tiles of one power of two, in a list that is sorted by length.
struct LengthClass {
  std::int64_t longest = 0;
  std::ptrdiff_t begin = 0, end = 0;
};

std::vector<LengthClass> classes_of(const std::vector<SampleTile>& sorted) {
  std::vector<LengthClass> classes;
  for (std::ptrdiff_t i = 0; i < std::ssize(sorted); ++i) {
    const std::int64_t longest = class_of(sorted[static_cast<std::size_t>(i)]);
    if (classes.empty() || classes.back().longest != longest) classes.push_back({longest, i, i});
    classes.back().end = i + 1;
  }
  return classes;
}

// Neighbouring classes as groups such that started rows and calls together cost least: the end of each group.
std::vector<std::size_t> cheapest_ends(const std::vector<LengthClass>& classes, std::int64_t call) {
  std::vector<std::int64_t> cost(classes.size() + 1, 0);  // of the classes from here on
  std::vector<std::size_t> end(classes.size() + 1, 0);    // of the first group from here on
  for (std::size_t i = classes.size(); i-- > 0;) {
    for (std::size_t j = i + 1; j <= classes.size(); ++j) {
      const std::int64_t rows = power_of_two(classes[j - 1].end - classes[i].begin) * classes[i].longest;
      if (end[i] == 0 || call + rows + cost[j] < cost[i]) {
        cost[i] = call + rows + cost[j];
        end[i] = j;
      }
    }
  }
  std::vector<std::size_t> ends;
  for (std::size_t i = 0; i < classes.size(); i = end[i]) ends.push_back(end[i]);
  return ends;
}

void check_tile(const SampleTile& tile, const VarlenShape& shape) {
  const bool inside = tile.sample >= 0 && tile.sample < shape.samples && tile.first_q >= 0 && tile.q_rows > 0 &&
                      tile.first_q + tile.q_rows <= shape.s_q && tile.first_kv >= 0 && tile.kv_rows > 0 &&
                      tile.first_kv + tile.kv_rows <= shape.s_kv;
  RT_CHECK(inside,
           "a tile of sample {}, queries {} + {}, keys {} + {} does not lie in {} samples of {} queries and {} keys",
           tile.sample, tile.first_q, tile.q_rows, tile.first_kv, tile.kv_rows, shape.samples, shape.s_q, shape.s_kv);
}

}  // namespace

std::vector<VarlenGroup> group_by_length(std::vector<SampleTile> tiles, std::int64_t tokens) {
  std::stable_sort(tiles.begin(), tiles.end(),
                   [](const SampleTile& a, const SampleTile& b) { return length_of(a) > length_of(b); });
  const std::vector<LengthClass> classes = classes_of(tiles);
  std::vector<VarlenGroup> groups;
  auto next = tiles.begin();
  for (const std::size_t end : cheapest_ends(classes, kRowsPerCall * tokens)) {
    const auto last = tiles.begin() + classes[end - 1].end;
    const std::int64_t longest = class_of(*next);
    while (next != last) {
      VarlenGroup group;
      group.longest = longest;
      group.tiles.assign(next, next + std::min<std::ptrdiff_t>(kLargestCapacity, last - next));
      group.capacity = power_of_two(std::ssize(group.tiles));
      next += std::ssize(group.tiles);
      std::sort(group.tiles.begin(), group.tiles.end(), [](const SampleTile& a, const SampleTile& b) {
        return std::tie(a.sample, a.first_q) < std::tie(b.sample, b.first_q);
      });
      groups.push_back(std::move(group));
    }
  }
  return groups;
}

void fill_tables(const VarlenGroup& group, const VarlenShape& shape, std::int64_t* words) {
  const std::int64_t capacity = group.capacity;
  RT_CHECK_LE(static_cast<std::int64_t>(group.tiles.size()), capacity, "tiles of a group");
  std::memset(words, 0, static_cast<std::size_t>(VarlenTables::words(capacity)) * sizeof(std::int64_t));
  auto* bytes = reinterpret_cast<std::byte*>(words);
  const auto put_length = [&](std::int64_t table, std::size_t i, std::int64_t rows) {
    const auto value = static_cast<std::int32_t>(rows);
    std::memcpy(bytes + table + i * sizeof(value), &value, sizeof(value));
  };
  const auto offsets = [&](std::int64_t table) {
    return words + table / static_cast<std::int64_t>(sizeof(std::int64_t));
  };
  std::int64_t* const q = offsets(VarlenTables::q_offsets(capacity));
  std::int64_t* const kv = offsets(VarlenTables::kv_offsets(capacity));
  std::int64_t* const lse = offsets(VarlenTables::lse_offsets(capacity));
  for (std::size_t i = 0; i < group.tiles.size(); ++i) {
    const SampleTile& tile = group.tiles[i];
    check_tile(tile, shape);
    put_length(VarlenTables::q_lengths(), i, tile.q_rows);
    put_length(VarlenTables::kv_lengths(capacity), i, tile.kv_rows);
    const std::int64_t q_token = tile.first_q * shape.samples + tile.sample;
    q[i] = q_token * shape.n * shape.d;
    kv[i] = (tile.first_kv * shape.samples + tile.sample) * shape.g * shape.d;
    lse[i] = q_token * shape.n;
  }
  // Entries without rows begin where the tensors end, so that offsets never decrease where the tiles' do not.
  for (std::int64_t i = static_cast<std::int64_t>(group.tiles.size()); i <= capacity; ++i) {
    q[i] = shape.samples * shape.s_q * shape.n * shape.d;
    kv[i] = shape.samples * shape.s_kv * shape.g * shape.d;
    lse[i] = shape.samples * shape.s_q * shape.n;
  }
}

}  // namespace ringtron
