#include "ringtron/grid/rank_order.h"

#include "ringtron/base/check.h"

namespace ringtron {

const char* short_name(Axis axis) {
  switch (axis) {
    case Axis::tensor:
      return "tp";
    case Axis::context:
      return "cp";
    case Axis::data:
      return "dp";
    case Axis::pipeline:
      return "pp";
  }
  RT_CHECK(false, "expected one of the four axes, got number {}", static_cast<int>(axis));
  return "";
}

std::string to_string(AxisSet axes) {
  std::string text;
  for (const Axis axis : {Axis::tensor, Axis::context, Axis::data, Axis::pipeline}) {
    if (!axes.contains(axis)) continue;
    if (!text.empty()) text += '-';
    text += short_name(axis);
  }
  return text.empty() ? "none" : text;
}

}  // namespace ringtron
