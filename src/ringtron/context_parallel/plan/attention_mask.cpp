#include "ringtron/context_parallel/plan/attention_mask.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"

namespace ringtron {
namespace {

std::int64_t limit_of(std::int64_t window) { return window < 0 ? Band::kUnbounded : window; }

// 0 + 1 + ... + n for n >= 0, else 0.
std::int64_t triangle(std::int64_t n) { return n > 0 ? n * (n + 1) / 2 : 0; }

// Sum over i in [0, rows) of clamp(i + shift, 0, most).
std::int64_t clamped_sum(std::int64_t rows, std::int64_t shift, std::int64_t most) {
  // Rows below `rising` give 0, from `level` on they give `most`.
  const std::int64_t rising = std::clamp<std::int64_t>(-shift, 0, rows);
  const std::int64_t level = std::clamp<std::int64_t>(most - shift, rising, rows);
  return triangle(level - 1 + shift) - triangle(rising - 1 + shift) + (rows - level) * most;
}

}  // namespace

PositionRange Band::row(std::int64_t i, std::int64_t keys) const {
  const std::int64_t begin = left == kUnbounded ? 0 : std::clamp<std::int64_t>(i - left, 0, keys);
  const std::int64_t end = right == kUnbounded ? keys : std::clamp<std::int64_t>(i + right + 1, 0, keys);
  return {begin, std::max(begin, end)};
}

std::int64_t Band::area(std::int64_t queries, std::int64_t keys) const {
  const std::int64_t ends = right == kUnbounded ? queries * keys : clamped_sum(queries, right + 1, keys);
  const std::int64_t begins = left == kUnbounded ? 0 : clamped_sum(queries, -left, keys);
  return ends - begins;
}

AttentionMask::AttentionMask(std::int64_t sequence_length, bool causal, AttentionWindow window,
                             std::vector<std::int64_t> document_starts)
    : sequence_length_(sequence_length),
      causal_(causal),
      left_(limit_of(window.left)),
      right_(causal ? 0 : limit_of(window.right)),
      starts_(std::move(document_starts)) {
  std::int64_t previous = -1;
  for (std::size_t i = 0; i < starts_.size(); ++i) {
    if (starts_[i] <= previous || starts_[i] >= sequence_length) {
      throw ConfigError(fmt::format(
          "document boundaries: expected strictly increasing positions in [0, {}), got {} after {} as number {}",
          sequence_length, starts_[i], previous, i));
    }
    previous = starts_[i];
  }
  if (sequence_length_ > 0 && (starts_.empty() || starts_.front() != 0)) starts_.insert(starts_.begin(), 0);
}

std::size_t AttentionMask::document_index(std::int64_t position) const {
  return static_cast<std::size_t>(std::upper_bound(starts_.begin(), starts_.end(), position) - starts_.begin()) - 1;
}

PositionRange AttentionMask::document(std::size_t index) const {
  return {starts_[index], index + 1 < starts_.size() ? starts_[index + 1] : sequence_length_};
}

PositionRange AttentionMask::keys_of(std::int64_t query) const {
  RT_CHECK(query >= 0 && query < sequence_length_, "query {} of a sequence of {}", query, sequence_length_);
  const PositionRange own = document(document_index(query));
  return {std::max(own.begin, query - left_), std::min(own.end, query + right_ + 1)};
}

std::vector<MaskTile> AttentionMask::tiles(const PositionRange& queries, const PositionRange& keys) const {
  std::vector<MaskTile> tiles;
  if (queries.empty() || keys.empty()) return tiles;
  for (std::size_t i = document_index(queries.begin); i < starts_.size(); ++i) {
    const PositionRange own = document(i);
    if (own.begin >= queries.end) break;
    PositionRange q = intersection(queries, own);
    // Keys in reach of the first and the last of these queries.
    PositionRange k = intersection(intersection(keys, own), {q.begin - left_, q.end - 1 + right_ + 1});
    if (k.empty()) continue;
    // Queries that reach some of these keys.
    q = intersection(q, {k.begin - right_, k.end - 1 + left_ + 1});
    if (q.empty()) continue;
    const std::int64_t offset = q.begin - k.begin;
    Band band{left_ == Band::kUnbounded ? left_ : left_ - offset,
              right_ == Band::kUnbounded ? right_ : right_ + offset};
    if (band.left >= q.length() - 1) band.left = Band::kUnbounded;
    if (band.right >= k.length() - 1) band.right = Band::kUnbounded;
    tiles.push_back({q, k, band});
  }
  return tiles;
}

std::int64_t AttentionMask::area(const PositionRange& queries, const PositionRange& keys) const {
  std::int64_t area = 0;
  for (const MaskTile& tile : tiles(queries, keys)) area += tile.band.area(tile.queries.length(), tile.keys.length());
  return area;
}

}  // namespace ringtron
