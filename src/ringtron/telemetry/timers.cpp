#include "ringtron/telemetry/timers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace ringtron {
namespace {

// `title` and what `line` says of each part that a rank has.
template <class Line>
std::string block(std::string title, std::span<const PartTimes> parts, Line line) {
  bool is_empty = true;
  for (const PartTimes& part : parts) {
    if (longest(part) <= 0) continue;
    is_empty = false;
    title += "\n" + line(part);
  }
  return is_empty ? std::string() : std::move(title);
}

}  // namespace

double longest(const PartTimes& part) {
  return part.milliseconds.empty() ? 0 : *std::ranges::max_element(part.milliseconds);
}

double shortest(const PartTimes& part) {
  double least = longest(part);
  for (const double time : part.milliseconds) {
    if (time > 0) least = std::min(least, time);
  }
  return least;
}

std::string format_longest_times(std::span<const PartTimes> parts) {
  return block("max time across ranks (ms):", parts, [](const PartTimes& part) {
    return fmt::format("    {:.<48}: {:.2f}", part.name + " ", longest(part));
  });
}

std::string format_time_ranges(std::span<const PartTimes> parts) {
  return block("(min, max) time across ranks (ms):", parts, [](const PartTimes& part) {
    return fmt::format("    {:.<48}: ({:.2f}, {:.2f})", part.name + " ", shortest(part), longest(part));
  });
}

std::string format_all_times(std::span<const PartTimes> parts) {
  return block("times across ranks (ms):", parts, [](const PartTimes& part) {
    std::string text = fmt::format("  {}:", part.name);
    for (std::size_t rank = 0; rank < part.milliseconds.size(); ++rank) {
      if (part.milliseconds[rank] > 0) text += fmt::format("\n     rank {:2d}: {:.2f}", rank, part.milliseconds[rank]);
    }
    return text;
  });
}

}  // namespace ringtron
