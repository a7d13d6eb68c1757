// Rows and positions, as ScheduleSimulator reads and names them.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ringtron/context_parallel/plan/sequence_layout.h"

namespace ringtron::internal {

inline std::string text_of(const PositionRange& rows) { return fmt::format("[{}-{})", rows.begin, rows.end); }

inline std::string text_of(const std::vector<PositionRange>& ranges) {
  std::string text;
  for (const PositionRange& range : ranges) text += " " + text_of(range);
  return text.empty() ? " none" : text;
}

inline std::string text_of(std::span<const std::int64_t> positions) { return text_of(ranges_of(positions)); }

inline bool rows_exist(const PositionRange& rows, std::int64_t length) {
  return rows.begin >= 0 && rows.begin <= rows.end && rows.end <= length;
}

template <class Rows>
auto rows_of(Rows& all, const PositionRange& rows) {
  return std::span(all).subspan(static_cast<std::size_t>(rows.begin), static_cast<std::size_t>(rows.length()));
}

}  // namespace ringtron::internal
