#include "ringtron/grid/process_grid.h"

#include <cstdint>
#include <initializer_list>
#include <limits>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {
namespace {

constexpr std::int64_t kMaxWorld = std::numeric_limits<int>::max();

void check_size(const char* name, int size) {
  if (size < 1) {
    throw ConfigError(fmt::format("{} size: expected at least 1, got {}; use 1 to switch the axis off", name, size));
  }
}

// The product, or ConfigError once it passes what a rank number can hold.
std::int64_t checked_product(std::initializer_list<int> sizes) {
  std::int64_t product = 1;
  for (const int size : sizes) {
    product *= size;
    if (product > kMaxWorld) {
      throw ConfigError(
          fmt::format("expected at most {} ranks in the process grid, got more; lower the sizes", kMaxWorld));
    }
  }
  return product;
}

void check_model_sizes(const GridSizes& sizes) {
  check_size("tensor parallel", sizes.tensor);
  check_size("context parallel", sizes.context);
  check_size("pipeline parallel", sizes.pipeline);
}

AxisSet complement(AxisSet axes) {
  AxisSet rest;
  for (const Axis axis : {Axis::tensor, Axis::context, Axis::data, Axis::pipeline}) {
    if (!axes.contains(axis)) rest = rest | axis;
  }
  return rest;
}

std::string python_list(std::span<const int> values) {
  if (values.empty()) return "None";
  std::vector<std::string> parts;
  for (const int value : values) parts.push_back(std::to_string(value));
  return "[" + join(parts, ", ") + "]";
}

}  // namespace

ProcessGrid::ProcessGrid(GridSizes sizes, RankOrder order) : order_(order) {
  check_model_sizes(sizes);
  check_size("data parallel", sizes.data);
  world_size_ = static_cast<int>(checked_product({sizes.tensor, sizes.context, sizes.pipeline, sizes.data}));
  sizes_[index(Axis::tensor)] = sizes.tensor;
  sizes_[index(Axis::context)] = sizes.context;
  sizes_[index(Axis::pipeline)] = sizes.pipeline;
  sizes_[index(Axis::data)] = sizes.data;
  int stride = 1;
  for (const Axis axis : axes_in_order(order)) {
    strides_[index(axis)] = stride;
    stride *= sizes_[index(axis)];
  }
}

ProcessGrid ProcessGrid::from_world(int world, GridSizes model, RankOrder order) {
  check_model_sizes(model);
  check_size("world", world);
  const std::int64_t model_size = checked_product({model.tensor, model.context, model.pipeline});
  if (world % model_size != 0) {
    throw ConfigError(
        fmt::format("world size ({}) is not divisible by total_model_size (total_model_size={}): tensor {} x "
                    "context {} x pipeline "
                    "{}; start a multiple of {} processes, or lower one of the three sizes",
                    world, model_size, model.tensor, model.context, model.pipeline, model_size));
  }
  model.data = static_cast<int>(world / model_size);
  return ProcessGrid(model, order);
}

void ProcessGrid::check_rank(int rank) const {
  RT_CHECK(rank >= 0 && rank < world_size_, "expected a rank from 0 to {}, got {}", world_size_ - 1, rank);
}

int ProcessGrid::coordinate(int rank, Axis axis) const {
  check_rank(rank);
  return rank / strides_[index(axis)] % sizes_[index(axis)];
}

GridCoordinates ProcessGrid::coordinates(int rank) const {
  return {.tensor = coordinate(rank, Axis::tensor),
          .context = coordinate(rank, Axis::context),
          .pipeline = coordinate(rank, Axis::pipeline),
          .data = coordinate(rank, Axis::data)};
}

int ProcessGrid::rank_of(const GridCoordinates& at) const {
  const auto part = [this](Axis axis, int value) {
    RT_CHECK(value >= 0 && value < size(axis), "{} coordinate: expected 0 to {}, got {}", short_name(axis),
             size(axis) - 1, value);
    return value * strides_[index(axis)];
  };
  return part(Axis::tensor, at.tensor) + part(Axis::context, at.context) + part(Axis::pipeline, at.pipeline) +
         part(Axis::data, at.data);
}

int ProcessGrid::group_size(AxisSet axes) const {
  int count = 1;
  for (const Axis axis : axes_in_order(order_)) {
    if (axes.contains(axis)) count *= size(axis);
  }
  return count;
}

// The number that `rank`'s coordinates on `axes` spell, fastest axis first.
int ProcessGrid::count_along(int rank, AxisSet axes) const {
  int number = 0;
  int weight = 1;
  for (const Axis axis : axes_in_order(order_)) {
    if (!axes.contains(axis)) continue;
    number += weight * coordinate(rank, axis);
    weight *= size(axis);
  }
  return number;
}

// Ranks of the group of rank 0 along `axes`; any other group is these plus its own lowest rank.
std::vector<int> ProcessGrid::offsets_along(AxisSet axes) const {
  std::vector<int> offsets = {0};
  offsets.reserve(static_cast<std::size_t>(group_size(axes)));
  for (const Axis axis : axes_in_order(order_)) {
    if (!axes.contains(axis)) continue;
    const std::size_t faster = offsets.size();
    for (int step = 1; step < size(axis); ++step) {
      for (std::size_t i = 0; i < faster; ++i) offsets.push_back(offsets[i] + step * strides_[index(axis)]);
    }
  }
  return offsets;
}

std::vector<int> ProcessGrid::group_of(int rank, AxisSet axes) const {
  check_rank(rank);
  int lowest = rank;
  for (const Axis axis : axes_in_order(order_)) {
    if (axes.contains(axis)) lowest -= coordinate(rank, axis) * strides_[index(axis)];
  }
  std::vector<int> members = offsets_along(axes);
  for (int& member : members) member += lowest;
  return members;
}

int ProcessGrid::index_in_group(int rank, AxisSet axes) const { return count_along(rank, axes); }

int ProcessGrid::group_number(int rank, AxisSet axes) const { return count_along(rank, complement(axes)); }

std::vector<std::vector<int>> ProcessGrid::groups(AxisSet axes) const {
  const std::vector<int> offsets = offsets_along(axes);
  std::vector<std::vector<int>> all;
  for (const int lowest : offsets_along(complement(axes))) {
    std::vector<int>& members = all.emplace_back(offsets);
    for (int& member : members) member += lowest;
  }
  return all;
}

void ProcessGrid::check_hierarchy(std::span<const int> sizes, int level) const {
  std::int64_t product = sizes.empty() ? 0 : 1;
  for (const int size : sizes) {
    check_size("hierarchical context parallel", size);
    product *= size;
    if (product > kMaxWorld) break;
  }
  if (product != size(Axis::context)) {
    throw ConfigError(
        fmt::format("hierarchical context parallel sizes {}: expected a product of {}, the context parallel "
                    "size, got {}; give "
                    "sizes whose product is {}",
                    python_list(sizes), size(Axis::context), product, size(Axis::context)));
  }
  RT_CHECK(level >= 0 && level < static_cast<int>(sizes.size()), "expected a level from 0 to {}, got {}",
           sizes.size() - 1, level);
}

std::vector<int> ProcessGrid::hierarchical_context_group_of(int rank, std::span<const int> sizes, int level) const {
  check_hierarchy(sizes, level);
  int inner = 1;
  for (int i = 0; i < level; ++i) inner *= sizes[static_cast<std::size_t>(i)];
  const int length = sizes[static_cast<std::size_t>(level)];
  const int stride = inner * strides_[index(Axis::context)];
  const int lowest = rank - coordinate(rank, Axis::context) / inner % length * stride;
  std::vector<int> members;
  for (int i = 0; i < length; ++i) members.push_back(lowest + i * stride);
  return members;
}

std::vector<std::vector<int>> ProcessGrid::hierarchical_context_groups(std::span<const int> sizes, int level) const {
  check_hierarchy(sizes, level);
  std::vector<std::vector<int>> all;
  for (const std::vector<int>& context_group : groups(Axis::context)) {
    for (const int rank : context_group) {
      std::vector<int> members = hierarchical_context_group_of(rank, sizes, level);
      if (members.front() == rank) all.push_back(std::move(members));
    }
  }
  return all;
}

std::string start_up_line(const ProcessGrid& grid, std::span<const int> hierarchical_context_sizes) {
  return fmt::format(
      "using world size: {}, data-parallel size: {}, context-parallel size: {}, hierarchical "
      "context-parallel sizes: "
      "{}, tensor-model-parallel size: {}, pipeline-model-parallel size: {}",
      grid.world_size(), grid.size(Axis::data), grid.size(Axis::context), python_list(hierarchical_context_sizes),
      grid.size(Axis::tensor), grid.size(Axis::pipeline));
}

}  // namespace ringtron
