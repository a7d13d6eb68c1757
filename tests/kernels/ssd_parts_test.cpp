// Runs, parts and chunks of the scan's kernels: every row once, documents where they begin, states only between parts.
#include "ringtron/kernels/ssd_scan/ssd_parts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "tests/kernels/scan_segments_for_tests.h"

namespace ringtron {
namespace {

constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();

// What a row is to the kernels.
struct Row {
  std::int64_t run = -1;
  bool begins_document = false;
  bool operator==(const Row&) const = default;
};

// By row of [rows * samples]; each must come once.
std::vector<Row> rows_of(const SsdParts& parts, const ScanSegments& segments) {
  std::vector<Row> rows(static_cast<std::size_t>(segments.rows() * segments.samples()));
  std::int64_t next_part = 0, next_chunk = 0;
  for (std::size_t run = 0; run < parts.runs.size(); ++run) {
    EXPECT_EQ(parts.runs[run].part, next_part);
    for (std::int64_t k = 0; k < parts.runs[run].parts; ++k) {
      const SsdPart& part = parts.parts[static_cast<std::size_t>(next_part++)];
      EXPECT_EQ(part.chunk, next_chunk);
      for (std::int64_t j = 0; j < part.chunks; ++j) {
        const SsdChunk& chunk = parts.chunks[static_cast<std::size_t>(next_chunk++)];
        for (std::int64_t i = 0; i < chunk.rows; ++i) {
          Row& row = rows[static_cast<std::size_t>(chunk.row + i * segments.samples())];
          EXPECT_EQ(row.run, -1);
          row = {static_cast<std::int64_t>(run), (chunk.starts >> i & 1) != 0};
        }
      }
    }
  }
  EXPECT_EQ(next_part, static_cast<std::int64_t>(parts.parts.size()));
  EXPECT_EQ(next_chunk, static_cast<std::int64_t>(parts.chunks.size()));
  return rows;
}

TEST(SsdParts, HaveEveryRowOnce) {
  for (unsigned key = 0; key < 100; ++key) {
    SCOPED_TRACE(key);
    std::mt19937 random(key);
    const std::int64_t rows = 1 + static_cast<std::int64_t>(random() % 700), samples = 1 + random() % 3;
    const auto segments = testing::random_segments(rows, samples, 1 + static_cast<int>(random() % 900), random);
    const std::int64_t most = key % 2 == 0 ? kAny : 1 + static_cast<std::int64_t>(random() % 4);
    const SsdParts parts = ssd_parts(*segments, most);
    const std::vector<Row> got = rows_of(parts, *segments);
    std::vector<Row> expected(got.size());
    std::int64_t run = -1;
    bool new_run = true;
    for (const ScanSegment& s : segments->list()) {
      if (new_run || s.initial >= 0 || s.begin == 0) {
        ++run;
        EXPECT_EQ(parts.runs[static_cast<std::size_t>(run)].initial, s.initial);
      }
      for (std::int64_t i = s.begin; i < s.end; ++i) {
        expected[static_cast<std::size_t>(i * samples + s.sample)] = {run, i == s.begin && s.initial < 0};
      }
      new_run = s.final >= 0;
      EXPECT_TRUE(!new_run || parts.runs[static_cast<std::size_t>(run)].final == s.final);
    }
    EXPECT_TRUE(got == expected);
    EXPECT_EQ(static_cast<std::int64_t>(parts.runs.size()), run + 1);
    for (const SsdPart& part : parts.parts) EXPECT_LE(part.chunks, most);
    EXPECT_TRUE(most != kAny || !parts.joined());
  }
}

TEST(SsdParts, AreCutWhereHeadsDoNotFillTheDevice) {
  const ScanSegments segments = ScanSegments::whole(64 * 100, 1);
  EXPECT_EQ(chunks_of_part(segments, 128, 132), kAny);
  EXPECT_EQ(chunks_of_part(segments, 16, 132), 6);  // 17 parts, so that there are 2 blocks for each multiprocessor
  EXPECT_EQ(chunks_of_part(segments, 1, 132), 4);   // no shorter
  EXPECT_TRUE(ssd_parts(segments, 6).joined());
}

}  // namespace
}  // namespace ringtron
