#include "ringtron/kernels/attention/ragged_tiles.h"

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
constexpr std::int64_t kSmallestCapacity = 8;
constexpr std::int64_t kLargestCapacity = 16384;  // a CUDA grid has at most 65535 blocks in two of its directions
// Rows of work that a group may start for each token. More: fewer groups, more blocks that find nothing to do.
constexpr std::int64_t kWorkPerToken = 4;

std::int64_t power_of_two(std::int64_t x) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(x)));
}

std::int64_t length_of(const RaggedTile& tile) { return std::max(tile.q_rows, tile.kv_rows); }

void check_tile(const RaggedTile& tile, const RaggedShape& shape) {
  const bool inside = tile.sample >= 0 && tile.sample < shape.samples && tile.first_q >= 0 && tile.q_rows > 0 &&
                      tile.first_q + tile.q_rows <= shape.s_q && tile.first_kv >= 0 && tile.kv_rows > 0 &&
                      tile.first_kv + tile.kv_rows <= shape.s_kv;
  RT_CHECK(inside, "a tile of sample {}, queries {} + {}, keys {} + {} does not lie in {} samples of {} queries and {} keys",
           tile.sample, tile.first_q, tile.q_rows, tile.first_kv, tile.kv_rows, shape.samples, shape.s_q, shape.s_kv);
}

}  // namespace

std::vector<RaggedGroup> group_by_length(std::vector<RaggedTile> tiles, std::int64_t tokens) {
  std::stable_sort(tiles.begin(), tiles.end(),
                   [](const RaggedTile& a, const RaggedTile& b) { return length_of(a) > length_of(b); });
  std::vector<RaggedGroup> groups;
  auto next = tiles.begin();
  while (next != tiles.end()) {
    RaggedGroup group;
    group.longest = std::max(kShortestClass, power_of_two(length_of(*next)));
    // The shortest class has nothing below it that would fit its tiles better.
    const std::int64_t most = group.longest == kShortestClass ? kLargestCapacity
                                                              : std::min(kLargestCapacity, kWorkPerToken * tokens / group.longest);
    const std::int64_t count = std::clamp<std::int64_t>(most, 1, std::distance(next, tiles.end()));
    group.capacity = std::max(kSmallestCapacity, power_of_two(count));
    group.tiles.assign(next, next + count);
    std::sort(group.tiles.begin(), group.tiles.end(), [](const RaggedTile& a, const RaggedTile& b) {
      return std::tie(a.sample, a.first_q) < std::tie(b.sample, b.first_q);
    });
    next += count;
    groups.push_back(std::move(group));
  }
  return groups;
}

void fill_tables(const RaggedGroup& group, const RaggedShape& shape, SampleOrder order, std::int64_t* words) {
  const std::int64_t capacity = group.capacity;
  RT_CHECK_LE(static_cast<std::int64_t>(group.tiles.size()), capacity, "tiles of a group");
  std::memset(words, 0, static_cast<std::size_t>(RaggedTables::words(capacity)) * sizeof(std::int64_t));
  auto* bytes = reinterpret_cast<std::byte*>(words);
  const auto put_length = [&](std::int64_t table, std::size_t i, std::int64_t rows) {
    const auto value = static_cast<std::int32_t>(rows);
    std::memcpy(bytes + table + i * sizeof(value), &value, sizeof(value));
  };
  const auto offsets = [&](std::int64_t table) { return words + table / static_cast<std::int64_t>(sizeof(std::int64_t)); };
  std::int64_t* const q = offsets(RaggedTables::q_offsets(capacity));
  std::int64_t* const kv = offsets(RaggedTables::kv_offsets(capacity));
  std::int64_t* const lse = offsets(RaggedTables::lse_offsets(capacity));
  for (std::size_t i = 0; i < group.tiles.size(); ++i) {
    const RaggedTile& tile = group.tiles[i];
    check_tile(tile, shape);
    put_length(RaggedTables::q_lengths(), i, tile.q_rows);
    put_length(RaggedTables::kv_lengths(capacity), i, tile.kv_rows);
    const std::int64_t q_token = token(order, shape, shape.s_q, tile.sample, tile.first_q);
    q[i] = q_token * shape.n * shape.d;
    kv[i] = token(order, shape, shape.s_kv, tile.sample, tile.first_kv) * shape.g * shape.d;
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
