// The times of parts of a step, on all ranks, in Megatron's forms.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace ringtron {

// One part, for one iteration.
struct PartTimes {
  std::string name;
  std::vector<double> milliseconds;  // by rank; 0 on a rank that does not have the part
};

// Several lines without a final newline; parts that no rank has are left out, and without any the text is empty.
// --timing-log-option max, minmax, all. Shortest times are those of ranks that have the part.
std::string format_longest_times(std::span<const PartTimes> parts);
std::string format_time_ranges(std::span<const PartTimes> parts);
std::string format_all_times(std::span<const PartTimes> parts);

// Of the ranks that have the part; 0 if none has.
double shortest(const PartTimes& part);
double longest(const PartTimes& part);

}  // namespace ringtron
