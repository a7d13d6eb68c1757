#include "ringtron/mamba_context_parallel/scan_plan.h"

#include <algorithm>

namespace ringtron {
namespace {

// A rank's run of positions.
struct Run {
  int rank;
  std::int64_t row;
  PositionRange positions;
};

std::vector<Run> runs_in_order(const SequenceLayout& layout) {
  std::vector<Run> runs;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    std::int64_t row = 0;
    for (const PositionRange& range : layout.of(rank)) {
      runs.push_back({rank, row, range});
      row += range.length();
    }
  }
  std::ranges::sort(runs, {}, [](const Run& run) { return run.positions.begin; });
  return runs;
}

// Of one sample, appended.
void add_pieces(const std::vector<Run>& runs, std::int64_t sample, const std::vector<std::int64_t>& starts,
                ScanPlan& plan) {
  auto start = starts.begin();
  for (const Run& run : runs) {
    for (std::int64_t begin = run.positions.begin; begin < run.positions.end;) {
      while (start != starts.end() && *start < begin) ++start;
      const bool begins = begin == 0 || (start != starts.end() && *start == begin);
      const auto next = std::upper_bound(start, starts.end(), begin);
      const std::int64_t end = next == starts.end() ? run.positions.end : std::min(*next, run.positions.end);
      auto& segments = plan.of_rank[static_cast<std::size_t>(run.rank)];
      const std::int64_t row = run.row + begin - run.positions.begin;
      plan.pieces.push_back({run.rank, sample, row, {begin, end}, begins, static_cast<int>(segments.size())});
      segments.push_back({sample, row, row + end - begin});
      begin = end;
    }
  }
}

int lines(const std::vector<ScanSegment>& segments, int ScanSegment::* line) {
  int most = -1;
  for (const ScanSegment& segment : segments) most = std::max(most, segment.*line);
  return most + 1;
}

}  // namespace

int ScanPlan::initials(int rank) const { return lines(of_rank[static_cast<std::size_t>(rank)], &ScanSegment::initial); }
int ScanPlan::finals(int rank) const { return lines(of_rank[static_cast<std::size_t>(rank)], &ScanSegment::final); }

ScanPlan scan_plan(const SequenceLayout& layout, std::int64_t samples,
                   const std::vector<std::vector<std::int64_t>>& document_starts) {
  ScanPlan plan;
  plan.of_rank.resize(static_cast<std::size_t>(layout.ranks()));
  const std::vector<Run> runs = runs_in_order(layout);
  for (std::int64_t sample = 0; sample < samples; ++sample) {
    add_pieces(
        runs, sample,
        document_starts.empty() ? std::vector<std::int64_t>{} : document_starts[static_cast<std::size_t>(sample)],
        plan);
  }
  std::vector<int> initials(plan.of_rank.size()), finals(plan.of_rank.size());
  const auto segment_of = [&plan](const ScanPiece& piece) -> ScanSegment& {
    return plan.of_rank[static_cast<std::size_t>(piece.rank)][static_cast<std::size_t>(piece.segment)];
  };
  for (std::size_t i = 1; i < plan.pieces.size(); ++i) {
    const ScanPiece &before = plan.pieces[i - 1], &piece = plan.pieces[i];
    if (piece.begins_document) continue;
    ScanSegment &from = segment_of(before), &to = segment_of(piece);
    from.final = finals[static_cast<std::size_t>(before.rank)]++;
    to.initial = initials[static_cast<std::size_t>(piece.rank)]++;
    if (!plan.links.empty() && from.initial >= 0) plan.links.back().to_goes_on = true;
    plan.links.push_back({before.rank, from.final, piece.rank, to.initial, from.initial >= 0});
  }
  return plan;
}

std::vector<HaloRow> halo_rows(const ScanPlan& plan, std::int64_t count) {
  std::vector<HaloRow> rows;
  for (std::size_t i = 0; i < plan.pieces.size(); ++i) {
    const ScanPiece& piece = plan.pieces[i];
    if (piece.begins_document) continue;
    const int line =
        plan.of_rank[static_cast<std::size_t>(piece.rank)][static_cast<std::size_t>(piece.segment)].initial;
    std::size_t from = i - 1;
    for (std::int64_t back = 1; back <= count; ++back) {
      const std::int64_t position = piece.positions.begin - back;
      if (position < plan.pieces[from].positions.begin) {
        if (plan.pieces[from].begins_document) break;
        --from;
      }
      const ScanPiece& owner = plan.pieces[from];
      rows.push_back(
          {owner.rank, owner.row + position - owner.positions.begin, piece.sample, piece.rank, line, count - back});
    }
  }
  return rows;
}

}  // namespace ringtron
