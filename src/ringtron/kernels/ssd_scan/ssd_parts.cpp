#include "ringtron/kernels/ssd_scan/ssd_parts.h"

#include <algorithm>
#include <limits>

namespace ringtron {
namespace {

constexpr std::int64_t kFilled = 3, kOf = 4;         // blocks for 3/4 of the multiprocessors are enough: parts cost
constexpr std::int64_t kBlocksOfMultiprocessor = 2;  // else so many are wanted
constexpr std::int64_t kLeastChunks = 4;             // of a part, which costs its states

struct Rows {
  std::int64_t sample, begin, end;
};

// Of rows that follow each other, with the documents that begin in them.
void add_chunks(SsdParts& all, const Rows& run, std::int64_t samples, const std::vector<std::int64_t>& starts) {
  auto start = starts.begin();
  for (std::int64_t begin = run.begin; begin < run.end; begin += kSsdChunk) {
    SsdChunk chunk{begin * samples + run.sample, 0, std::min<std::int64_t>(kSsdChunk, run.end - begin)};
    for (; start != starts.end() && *start < begin + kSsdChunk; ++start) {
      chunk.starts |= std::uint64_t{1} << (*start - begin);
    }
    all.chunks.push_back(chunk);
  }
}

}  // namespace

SsdParts ssd_parts(const ScanSegments& segments, std::int64_t most_chunks) {
  SsdParts all;
  const auto& list = segments.list();
  for (std::size_t i = 0; i < list.size();) {
    std::size_t last = i;
    while (list[last].final < 0 && last + 1 < list.size() && list[last + 1].initial < 0 &&
           list[last + 1].sample == list[i].sample) {
      ++last;
    }
    std::vector<std::int64_t> starts;
    for (std::size_t k = i; k <= last; ++k) {
      if (list[k].initial < 0) starts.push_back(list[k].begin);
    }
    const auto chunk = static_cast<std::int64_t>(all.chunks.size()), part = static_cast<std::int64_t>(all.parts.size());
    add_chunks(all, {list[i].sample, list[i].begin, list[last].end}, segments.samples(), starts);
    const auto end = static_cast<std::int64_t>(all.chunks.size());
    for (std::int64_t at = chunk; at < end; at += all.parts.back().chunks) {
      all.parts.push_back({at, std::min(most_chunks, end - at)});
    }
    all.runs.push_back({part, static_cast<std::int64_t>(all.parts.size()) - part, list[i].initial, list[last].final});
    i = last + 1;
  }
  return all;
}

std::int64_t chunks_of_part(const ScanSegments& segments, std::int64_t lanes, int multiprocessors) {
  const std::int64_t samples = std::max<std::int64_t>(1, segments.samples());
  if (kOf * samples * lanes >= kFilled * multiprocessors) return std::numeric_limits<std::int64_t>::max();
  const std::int64_t parts = (kBlocksOfMultiprocessor * multiprocessors + samples * lanes - 1) / (samples * lanes);
  const std::int64_t chunks = (segments.rows() + kSsdChunk - 1) / kSsdChunk;
  return std::max(kLeastChunks, (chunks + parts - 1) / parts);
}

}  // namespace ringtron
