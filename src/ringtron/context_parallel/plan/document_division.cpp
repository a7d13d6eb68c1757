#include "ringtron/context_parallel/plan/document_division.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "ringtron/base/check.h"

namespace ringtron::internal {
namespace {

// A shorter piece costs more than it balances.
constexpr std::int64_t kShortestPiece = 32;

struct Share {
  std::vector<PositionRange> ranges;
  std::int64_t room = 0;  // positions that are still free
  std::int64_t area = 0;
};

// Positions that leave a share, and their area.
struct Pieces {
  std::vector<PositionRange> ranges;
  std::int64_t area = 0;
};

class DocumentDivision {
 public:
  DocumentDivision(const AttentionMask& mask, std::span<const std::int64_t> lengths) : mask_(mask) {
    const std::int64_t length = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
    RT_CHECK_EQ(length, mask.sequence_length(), "positions of all ranks");
    for (const std::int64_t length : lengths) shares_.push_back({{}, length, 0});
  }

  // Two chunks for every rank, lengths in proportion to the room that it has.
  void cut_for_all(const PositionRange& document) {
    const std::vector<std::int64_t> lengths = in_proportion(document.length());
    std::int64_t begin = document.begin;
    const auto give_next = [&](std::size_t rank, std::int64_t length) {
      give(shares_[rank], {begin, begin + length});
      begin += length;
    };
    for (std::size_t rank = 0; rank < lengths.size(); ++rank) give_next(rank, lengths[rank] / 2);
    for (std::size_t rank = lengths.size(); rank-- > 0;) give_next(rank, lengths[rank] - lengths[rank] / 2);
  }

  // False where no rank has room for it.
  bool give_whole(const PositionRange& document) {
    Share* const share = lightest(document.length());
    if (share != nullptr) give(*share, document);
    return share != nullptr;
  }

  // The end of a document has the largest area: it goes to the rank with the least.
  void fill_room(PositionRange document) {
    while (!document.empty()) {
      Share& share = *lightest(1);
      const std::int64_t length = std::min(share.room, document.length());
      give(share, {document.end - length, document.end});
      document.end -= length;
    }
  }

  void exchange_until(double good_enough) {
    const std::int64_t mean = mask_.area() / static_cast<std::int64_t>(shares_.size());
    const auto most = static_cast<std::int64_t>(good_enough * static_cast<double>(mean));
    for (std::size_t i = 0; i < 4 * shares_.size(); ++i) {
      const auto by_area = [](const Share& a, const Share& b) { return a.area < b.area; };
      const auto [light, heavy] = std::minmax_element(shares_.begin(), shares_.end(), by_area);
      if (heavy->area <= most || !exchange(*heavy, *light, std::min(heavy->area - mean, mean - light->area))) return;
    }
  }

  std::vector<std::vector<PositionRange>> take() {
    std::vector<std::vector<PositionRange>> ranges;
    for (Share& share : shares_) {
      std::ranges::sort(share.ranges, {}, &PositionRange::begin);
      ranges.push_back(std::move(share.ranges));
    }
    return ranges;
  }

 private:
  void give(Share& share, const PositionRange& range) {
    if (range.empty()) return;
    share.ranges.push_back(range);
    share.room -= range.length();
    share.area += mask_.area(range);
  }

  // Of those with that much room; null: none has.
  Share* lightest(std::int64_t room) {
    Share* best = nullptr;
    for (Share& share : shares_) {
      if (share.room >= room && (best == nullptr || share.area < best->area)) best = &share;
    }
    return best;
  }

  std::vector<std::int64_t> in_proportion(std::int64_t length) const {
    std::int64_t room = 0, rest = length;
    for (const Share& share : shares_) room += share.room;
    std::vector<std::int64_t> lengths;
    for (const Share& share : shares_) {
      lengths.push_back(room == 0 ? 0 : length * share.room / room);
      rest -= lengths.back();
    }
    for (std::size_t rank = 0; rest > 0; rank = (rank + 1) % lengths.size()) {
      if (lengths[rank] == shares_[rank].room) continue;
      ++lengths[rank];
      --rest;
    }
    return lengths;
  }

  // Of the range whose last query sees most.
  std::size_t with_longest_reach(const Share& share) const {
    std::size_t best = 0;
    for (std::size_t i = 1; i < share.ranges.size(); ++i) {
      if (reach(share.ranges[i]) > reach(share.ranges[best])) best = i;
    }
    return best;
  }
  std::int64_t reach(const PositionRange& range) const { return mask_.keys_of(range.end - 1).length(); }

  // The first `length` positions of ranges in order: whole ranges and the beginning of one more.
  Pieces least(const std::vector<PositionRange>& ordered, std::int64_t length) const {
    Pieces pieces;
    for (const PositionRange& range : ordered) {
      const std::int64_t part = std::min(length, range.length());
      if (part == 0) break;
      pieces.ranges.push_back({range.begin, range.begin + part});
      pieces.area += mask_.area(pieces.ranges.back());
      length -= part;
    }
    return pieces;
  }

  // By the mean of what a position sees.
  std::vector<PositionRange> ordered(std::vector<PositionRange> ranges) const {
    std::vector<std::pair<double, PositionRange>> by_mean;
    for (const PositionRange& range : ranges) {
      by_mean.emplace_back(static_cast<double>(mask_.area(range)) / static_cast<double>(range.length()), range);
    }
    std::stable_sort(by_mean.begin(), by_mean.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::transform(by_mean.begin(), by_mean.end(), ranges.begin(), [](const auto& entry) { return entry.second; });
    return ranges;
  }

  // Moves about that much area; false where nothing worth it can be moved.
  bool exchange(Share& heavy, Share& light, std::int64_t area) {
    if (heavy.ranges.empty() || light.ranges.empty()) return false;
    PositionRange& longest = heavy.ranges[with_longest_reach(heavy)];
    const std::vector<PositionRange> of_light = ordered(light.ranges);
    const auto end_of = [&](std::int64_t length) { return PositionRange{longest.end - length, longest.end}; };
    const auto moved = [&](std::int64_t length) { return mask_.area(end_of(length)) - least(of_light, length).area; };
    // The shortest piece that moves so much, as long as a longer one moves more.
    std::int64_t low = 0, high = std::min(longest.length(), total_length(of_light));
    while (low < high) {
      const std::int64_t middle = low + (high - low) / 2;
      if (moved(middle) >= area) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    if (low < kShortestPiece || moved(low) <= 0) return false;
    const PositionRange end = end_of(low);
    const Pieces back = least(of_light, low);
    longest.end -= low;
    std::erase_if(heavy.ranges, [](const PositionRange& range) { return range.empty(); });
    light.ranges = of_light;
    for (std::size_t i = 0; i < back.ranges.size(); ++i) light.ranges[i].begin = back.ranges[i].end;
    std::erase_if(light.ranges, [](const PositionRange& range) { return range.empty(); });
    heavy.area += back.area - mask_.area(end);
    light.area += mask_.area(end) - back.area;
    light.ranges.push_back(end);
    heavy.ranges.insert(heavy.ranges.end(), back.ranges.begin(), back.ranges.end());
    return true;
  }

  const AttentionMask& mask_;
  std::vector<Share> shares_;  // by rank
};

struct Document {
  PositionRange positions;
  std::int64_t area;
};

// By area, the largest first.
std::vector<Document> documents_of(const AttentionMask& mask) {
  std::vector<Document> documents;
  for (std::size_t i = 0; i < mask.document_starts().size(); ++i) {
    const PositionRange positions = mask.document(i);
    documents.push_back({positions, mask.area(positions)});
  }
  std::ranges::stable_sort(documents, std::greater{}, &Document::area);
  return documents;
}

}  // namespace

std::vector<std::vector<PositionRange>> divide_documents(const AttentionMask& mask,
                                                         std::span<const std::int64_t> lengths, std::int64_t whole_area,
                                                         double good_enough) {
  DocumentDivision division(mask, lengths);
  std::vector<PositionRange> left;
  for (const Document& document : documents_of(mask)) {
    if (document.area > whole_area) {
      division.cut_for_all(document.positions);
    } else if (!division.give_whole(document.positions)) {
      left.push_back(document.positions);
    }
  }
  for (const PositionRange& document : left) division.fill_room(document);
  division.exchange_until(good_enough);
  return division.take();
}

}  // namespace ringtron::internal
