// Which rows of which rank follow each other in a scan along the sequence: the segments of all ranks, and their links.
//
// A piece of the sequence is a run of a rank's positions within one document. Where a document is in several pieces,
// each is linked with the next: what the one ends with, a state of the scan or the last rows of the convolution, is
// what the other begins with. Zigzag gives each rank two runs, which are pieces as any others.
#pragma once

#include <cstdint>
#include <vector>

#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/kernels/scan_segments/scan_segments.h"

namespace ringtron {

struct ScanPiece {
  int rank = 0;
  std::int64_t sample = 0;
  std::int64_t row = 0;     // of the rank, where the piece begins
  PositionRange positions;  // in the sequence
  bool begins_document = true;
  int segment = 0;  // its number among the segments of the rank
};

// From a piece to the next. Lines as ScanSegment numbers them; never within one rank, whose runs do not touch.
struct ScanLink {
  int from_rank = 0, from_line = 0;  // a final line
  int to_rank = 0, to_line = 0;      // an initial line
  bool from_continues = false;       // the piece before has an initial line too, so that what enters it goes on
  bool to_goes_on = false;           // the piece behind has a final line too
  bool operator==(const ScanLink&) const = default;
};

struct ScanPlan {
  std::vector<std::vector<ScanSegment>> of_rank;
  std::vector<ScanPiece> pieces;  // by sample, then by position
  std::vector<ScanLink> links;    // in the same order, so that each chain is together

  int initials(int rank) const;
  int finals(int rank) const;
};

// `document_starts`: as in SequenceShape, of each sample; empty: every sample is one document. Pure; the same on all
// ranks.
ScanPlan scan_plan(const SequenceLayout& layout, std::int64_t samples,
                   const std::vector<std::vector<std::int64_t>>& document_starts);

// A row that a piece needs from before it, and who has it.
struct HaloRow {
  int from_rank = 0;
  std::int64_t from_row = 0, sample = 0;
  int to_rank = 0, to_line = 0;  // an initial line
  std::int64_t place = 0;        // 0 .. count-1, the last is the nearest
  bool operator==(const HaloRow&) const = default;
};

// The up to `count` rows of its document before each piece that continues one.
std::vector<HaloRow> halo_rows(const ScanPlan& plan, std::int64_t count);

}  // namespace ringtron
