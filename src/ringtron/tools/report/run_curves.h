// Which curves a run's log holds, and the charts that a report makes of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ringtron/tools/report/run_log.h"

namespace ringtron {

struct Curve {
  std::string name;  // of the number in the log
  std::vector<double> iterations, values;
};

// Each number of the log that has a chart, in units of it; of the parts of a step "part NAME" of those that lie in no
// other.
std::vector<Curve> curves_of(const RunLog& run);

// Whether a curve jumps about so that its mean says more: not one that is set, or that only steps.
bool is_noisy(std::string_view name);

// What iterations are in other measures; as many elements each.
struct Axes {
  std::vector<double> iterations, hours;  // hours: of steps alone, from the first one of the log on
  std::vector<double> samples;            // empty where the log does not tell
  double seq_length = 0;                  // tokens of a sample; 0: unknown
};
Axes axes_of(const RunLog& run);

struct Chart {
  std::string title, unit, help;
  std::vector<std::string> series;
  std::string kind;  // "loss": with evaluations; "throughput": with a share of the peak; "parts"; or empty
  bool is_log = false;
};

// Those of which a run has something to show, in the order of the page.
std::vector<Chart> charts_of(const std::vector<std::vector<Curve>>& runs, bool has_evaluations);

}  // namespace ringtron
