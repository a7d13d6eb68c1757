// The runs of rows in which an operation along the sequence (causal convolution, state-space scan) goes from row to
// row. Without LibTorch; the same for all layers of a micro-batch.
#pragma once

#include <cstdint>
#include <vector>

namespace ringtron {

// Rows [begin, end) of one sample: neighbouring positions of one document.
//
// Where the document began on another rank, or in an earlier run of positions of this one, the segment continues it:
// what it begins with is in line `initial` of a tensor that the caller gives. Where the document goes on elsewhere,
// what the segment ends with is wanted in line `final`. -1: the document begins here; it ends here.
struct ScanSegment {
  std::int64_t sample = 0, begin = 0, end = 0;
  int initial = -1, final = -1;

  std::int64_t length() const { return end - begin; }
  bool operator==(const ScanSegment&) const = default;
};

class ScanSegments {
 public:
  // Of tensors [rows, samples, ...]. Throws InternalError unless the segments are not empty, ascend by sample and then
  // by row, together hold each row of each sample once, and name the lines 0, 1, ... of either tensor once each.
  ScanSegments(std::int64_t rows, std::int64_t samples, std::vector<ScanSegment> segments);

  // Every sample is one document that begins and ends here.
  static ScanSegments whole(std::int64_t rows, std::int64_t samples);

  std::int64_t rows() const { return rows_; }
  std::int64_t samples() const { return samples_; }
  const std::vector<ScanSegment>& list() const { return segments_; }
  int initials() const { return initials_; }  // lines that the caller gives
  int finals() const { return finals_; }      // lines that the caller is given
  std::int64_t longest() const { return longest_; }

 private:
  std::int64_t rows_, samples_, longest_ = 0;
  std::vector<ScanSegment> segments_;
  int initials_ = 0, finals_ = 0;
};

}  // namespace ringtron
