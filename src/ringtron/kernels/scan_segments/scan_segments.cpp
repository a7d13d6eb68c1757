#include "ringtron/kernels/scan_segments/scan_segments.h"

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

// How many lines `member` names: 0, 1, ..., each once.
int lines_of(const std::vector<ScanSegment>& segments, int ScanSegment::* member) {
  std::vector<int> lines;
  for (const ScanSegment& segment : segments) {
    if (segment.*member >= 0) lines.push_back(segment.*member);
  }
  std::ranges::sort(lines);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    RT_CHECK(lines[i] == static_cast<int>(i), "line {} of a scan's states is missing or named twice", i);
  }
  return static_cast<int>(lines.size());
}

}  // namespace

ScanSegments::ScanSegments(std::int64_t rows, std::int64_t samples, std::vector<ScanSegment> segments)
    : rows_(rows), samples_(samples), segments_(std::move(segments)) {
  std::int64_t next = 0;  // rows before the segment, of all samples one after the other
  for (const ScanSegment& segment : segments_) {
    RT_CHECK(segment.length() > 0 && segment.end <= rows && segment.sample * rows + segment.begin == next,
             "rows {} to {} of sample {} do not follow the segment before them", segment.begin, segment.end,
             segment.sample);
    next += segment.length();
    longest_ = std::max(longest_, segment.length());
  }
  RT_CHECK_EQ(next, rows * samples, "rows of the segments of a scan");
  initials_ = lines_of(segments_, &ScanSegment::initial);
  finals_ = lines_of(segments_, &ScanSegment::final);
}

ScanSegments ScanSegments::whole(std::int64_t rows, std::int64_t samples) {
  std::vector<ScanSegment> segments;
  for (std::int64_t sample = 0; sample < samples && rows > 0; ++sample) segments.push_back({sample, 0, rows});
  return {rows, samples, std::move(segments)};
}

}  // namespace ringtron
