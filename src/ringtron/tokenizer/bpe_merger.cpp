#include "ringtron/tokenizer/bpe_merger.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <limits>
#include <numeric>
#include <queue>

namespace ringtron {
namespace {

constexpr std::int32_t kNoRank = std::numeric_limits<std::int32_t>::max();
constexpr std::uint64_t kEmptyPair = ~std::uint64_t{0};

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
}

// A place where two neighbours may merge; out of date once one of them has merged with another.
struct Candidate {
  std::int32_t rank;
  std::size_t left;  // position
  auto operator<=>(const Candidate&) const = default;
};

std::vector<std::int32_t> ranks_in_order(std::size_t count) {
  std::vector<std::int32_t> ranks(count);
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

}  // namespace

BpeMerger::BpeMerger(const BpeModel& model) : BpeMerger(model.merges, ranks_in_order(model.merges.size())) {
  id_of_byte_ = model.id_of_byte;
}

BpeMerger::BpeMerger(std::span<const BpeMerge> merges, std::span<const std::int32_t> ranks) {
  const std::size_t slots = std::bit_ceil(std::max<std::size_t>(2 * merges.size(), 2));
  shift_ = 64 - std::countr_zero(slots);
  slots_.assign(slots, {kEmptyPair, kNoRank});
  if (!ranks.empty()) result_of_rank_.resize(*std::max_element(ranks.begin(), ranks.end()) + 1);
  for (std::size_t k = 0; k < merges.size(); ++k) {
    const std::uint64_t pair = pair_key(merges[k].left, merges[k].right);
    std::size_t i = first_slot(pair);
    while (slots_[i].pair != kEmptyPair && slots_[i].pair != pair) i = (i + 1) & (slots - 1);
    slots_[i] = {pair, ranks[k]};
    result_of_rank_[ranks[k]] = merges[k].result;
  }
}

std::size_t BpeMerger::first_slot(std::uint64_t pair) const {
  return static_cast<std::size_t>((pair ^ pair >> 29) * 0x9E3779B97F4A7C15ull >> shift_);
}

std::int32_t BpeMerger::rank(std::int32_t left, std::int32_t right) const {
  const std::uint64_t pair = pair_key(left, right);
  std::size_t i = first_slot(pair);
  while (slots_[i].pair != pair) {
    if (slots_[i].pair == kEmptyPair) return kNoRank;
    i = (i + 1) & (slots_.size() - 1);
  }
  return slots_[i].rank;
}

void BpeMerger::append_ids(std::string_view word, std::vector<std::int32_t>& ids) const {
  const auto id = [this](char byte) { return id_of_byte_[static_cast<unsigned char>(byte)]; };
  if (word.size() <= kShortWord) {
    std::array<std::int32_t, kShortWord> token;
    for (std::size_t i = 0; i < word.size(); ++i) token[i] = id(word[i]);
    append_short(token, word.size(), ids);
  } else {
    std::vector<std::int32_t> start(word.size());
    std::transform(word.begin(), word.end(), start.begin(), id);
    append_long(start, ids);
  }
}

void BpeMerger::append_merged(std::span<const std::int32_t> start, std::vector<std::int32_t>& ids) const {
  if (start.size() > kShortWord) return append_long(start, ids);
  std::array<std::int32_t, kShortWord> token;
  std::copy(start.begin(), start.end(), token.begin());
  append_short(token, start.size(), ids);
}

void BpeMerger::append_short(std::array<std::int32_t, kShortWord>& token, std::size_t n,
                             std::vector<std::int32_t>& ids) const {
  std::array<std::int32_t, kShortWord> ranks;  // ranks[i]: of token[i] with token[i + 1]
  for (std::size_t i = 0; i + 1 < n; ++i) ranks[i] = rank(token[i], token[i + 1]);
  while (n > 1) {
    const auto best = std::min_element(ranks.begin(), ranks.begin() + (n - 1));
    if (*best == kNoRank) break;
    const std::size_t i = best - ranks.begin();
    token[i] = result_of_rank_[*best];
    std::copy(token.begin() + i + 2, token.begin() + n, token.begin() + i + 1);
    if (i + 2 < n) std::copy(ranks.begin() + i + 1, ranks.begin() + n - 1, ranks.begin() + i);
    --n;
    if (i > 0) ranks[i - 1] = rank(token[i - 1], token[i]);
    if (i + 1 < n) ranks[i] = rank(token[i], token[i + 1]);
  }
  ids.insert(ids.end(), token.begin(), token.begin() + n);
}

void BpeMerger::append_long(std::span<const std::int32_t> start, std::vector<std::int32_t>& ids) const {
  constexpr std::int32_t kGone = -1;
  constexpr std::size_t kNowhere = std::numeric_limits<std::size_t>::max();
  struct Node {
    std::int32_t token;
    std::size_t previous, next;
  };
  std::vector<Node> nodes(start.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    nodes[i] = {start[i], i == 0 ? kNowhere : i - 1, i + 1 == nodes.size() ? kNowhere : i + 1};
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto consider = [&](std::size_t left) {
    if (left == kNowhere || nodes[left].next == kNowhere) return;
    const std::int32_t r = rank(nodes[left].token, nodes[nodes[left].next].token);
    if (r != kNoRank) candidates.push({r, left});
  };
  for (std::size_t i = 0; i < nodes.size(); ++i) consider(i);
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Node& left = nodes[best.left];
    if (left.next == kNowhere || rank(left.token, nodes[left.next].token) != best.rank) continue;
    Node& right = nodes[left.next];
    left.token = result_of_rank_[best.rank];
    right.token = kGone;
    left.next = right.next;
    if (left.next != kNowhere) nodes[left.next].previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
  for (std::size_t i = 0; i != kNowhere; i = nodes[i].next) ids.push_back(nodes[i].token);
}

}  // namespace ringtron
