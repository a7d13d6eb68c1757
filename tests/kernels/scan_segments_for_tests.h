// Segments for tests of the convolution and the scan.
#pragma once

#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "ringtron/kernels/scan_segments/scan_segments.h"

namespace ringtron::testing {

// Documents anywhere, cut anywhere: about one cut in `every` rows, about half of which documents go over.
inline std::shared_ptr<const ScanSegments> random_segments(std::int64_t rows, std::int64_t samples, int every,
                                                           std::mt19937& random) {
  std::vector<ScanSegment> list;
  int initials = 0, finals = 0;
  for (std::int64_t sample = 0; sample < samples; ++sample) {
    bool continues = random() % 2 == 0;  // into the first row
    for (std::int64_t begin = 0; begin < rows;) {
      std::int64_t end = begin + 1;
      while (end < rows && random() % static_cast<unsigned>(every) != 0) ++end;
      const bool goes_on = random() % 2 == 0;
      list.push_back({sample, begin, end, continues ? initials++ : -1, goes_on ? finals++ : -1});
      continues = goes_on;
      begin = end;
    }
  }
  return std::make_shared<const ScanSegments>(rows, samples, std::move(list));
}

}  // namespace ringtron::testing
