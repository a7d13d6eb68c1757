#include "ringtron/context_parallel/sequence_layout.h"

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"

namespace ringtron {

SequenceLayout::SequenceLayout(std::string name, std::vector<std::vector<Chunk>> chunks_of_rank)
    : name_(std::move(name)), chunks_of_rank_(std::move(chunks_of_rank)) {
  RT_CHECK(!chunks_of_rank_.empty(), "layout {} has no ranks", name_);
  std::vector<Chunk> all;
  for (const auto& chunks : chunks_of_rank_) all.insert(all.end(), chunks.begin(), chunks.end());
  std::sort(all.begin(), all.end(), [](const Chunk& a, const Chunk& b) { return a.number < b.number; });
  for (const Chunk& chunk : all) {
    RT_CHECK_EQ(chunk.number, chunk_count_, "chunk numbers of layout " + name_);
    RT_CHECK_EQ(chunk.positions.begin, sequence_length_, "begin of a chunk of layout " + name_);
    RT_CHECK_LE(chunk.positions.begin, chunk.positions.end, "end of a chunk of layout " + name_);
    sequence_length_ = chunk.positions.end;
    ++chunk_count_;
  }
  for (int rank = 0; rank < ranks(); ++rank) {
    std::int64_t held = 0;
    for (const Chunk& chunk : of(rank)) held += chunk.positions.length();
    RT_CHECK_EQ(held * ranks(), sequence_length_, "positions of a rank times ranks");
  }
}

PositionRange SequenceLayout::rows(int rank, ChunkSpan span) const {
  const std::vector<Chunk>& chunks = of(rank);
  RT_CHECK(span.first >= 0 && span.count >= 0 && span.first + span.count <= static_cast<int>(chunks.size()),
           "chunks {}+{} of rank {}, which holds {}", span.first, span.count, rank, chunks.size());
  PositionRange rows;
  for (int i = 0; i < span.first; ++i) rows.begin += chunks[i].positions.length();
  rows.end = rows.begin;
  for (int i = 0; i < span.count; ++i) rows.end += chunks[span.first + i].positions.length();
  return rows;
}

std::vector<PositionRange> SequenceLayout::positions(int rank, ChunkSpan span) const {
  std::vector<PositionRange> ranges;
  for (int i = 0; i < span.count; ++i) ranges.push_back(of(rank).at(span.first + i).positions);
  return ranges;
}

std::vector<PositionRange> slice_ranges(std::span<const PositionRange> ranges, std::int64_t skip, std::int64_t count) {
  std::vector<PositionRange> result;
  for (const PositionRange& range : ranges) {
    const std::int64_t begin = range.begin + std::min(skip, range.length());
    skip -= begin - range.begin;
    const std::int64_t end = begin + std::min(count, range.end - begin);
    count -= end - begin;
    if (begin < end) result.push_back({begin, end});
  }
  RT_CHECK_EQ(count, 0, "positions asked for beyond the end of the ranges");
  return result;
}

}  // namespace ringtron
