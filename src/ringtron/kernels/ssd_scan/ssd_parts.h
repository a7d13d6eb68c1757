// A scan's rows as the kernels take them: runs of parts of chunks (ssd_params.h).
#pragma once

#include <cstdint>
#include <vector>

#include "ringtron/kernels/scan_segments/scan_segments.h"
#include "ringtron/kernels/ssd_scan/ssd_params.h"

namespace ringtron {

struct SsdParts {
  std::vector<SsdChunk> chunks;
  std::vector<SsdPart> parts;
  std::vector<SsdRun> runs;

  // Whether any state goes from part to part.
  bool joined() const { return parts.size() > runs.size(); }
};

// Segments follow each other in a run; those with an initial line begin one, those with a final line end it. A run is
// cut into parts of at most `most_chunks`.
SsdParts ssd_parts(const ScanSegments& segments, std::int64_t most_chunks);

// Chunks of a part with which `lanes` blocks for each part (heads) fill so many multiprocessors; parts are long where
// samples and heads do so anyway.
std::int64_t chunks_of_part(const ScanSegments& segments, std::int64_t lanes, int multiprocessors);

}  // namespace ringtron
