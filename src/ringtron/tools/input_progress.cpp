#include "ringtron/tools/input_progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace ringtron {

std::string progress_text(std::int64_t consumed, std::optional<std::int64_t> total, double seconds) {
  if (!total || *total <= 0 || consumed <= 0) return "";
  const double part = std::min(1.0, static_cast<double>(consumed) / static_cast<double>(*total));
  const auto left = static_cast<std::int64_t>(std::llround(seconds * (1.0 - part) / part));
  return fmt::format(", {:.0f}% of the input, {}:{:02}:{:02} left", 100.0 * part, left / 3600, left / 60 % 60,
                     left % 60);
}

}  // namespace ringtron
