// Fewer points of a curve, such that it looks the same.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace ringtron {

// The numbers of the points to draw, in order: of each of `buckets` runs of neighbours the least, the greatest and, as
// a gap, one that is NaN; the first and the last. All, if they are not more than that. At most 3 * buckets + 2.
std::vector<std::size_t> thin_out(std::span<const double> values, std::size_t buckets);

// The mean of each point and its neighbours, `reach` on both sides, near an end as many as there are on the shorter
// one, so that a curve that falls is not lifted there; NaN does not count, and stays.
std::vector<double> moving_mean(std::span<const double> values, std::size_t reach);

}  // namespace ringtron
