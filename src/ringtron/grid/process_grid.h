// Which rank sits where: rank <-> coordinates on the axes tensor, context, data and pipeline, and the groups
// of ranks that share all other coordinates.
//
// Pure arithmetic on the sizes; nothing here communicates. A query about one rank costs as much as its answer
// is long, whatever the world size. All ranks that hold the same sizes and order get the same answers in the
// same order, so groups() may be walked to create communicators: every rank meets every group at the same
// place.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "ringtron/grid/rank_order.h"

namespace ringtron {

struct GridSizes {
  int tensor = 1;
  int context = 1;
  int pipeline = 1;
  int data = 1;
};

struct GridCoordinates {
  int tensor = 0;
  int context = 0;
  int pipeline = 0;
  int data = 0;
  bool operator==(const GridCoordinates&) const = default;
};

class ProcessGrid {
 public:
  // ConfigError if a size is below 1 or the product does not fit an int.
  explicit ProcessGrid(GridSizes sizes, RankOrder order = RankOrder::tp_cp_dp_pp);

  // The grid in which the data axis takes what the other three leave of `world` ranks; `model.data` is not
  // read. ConfigError if the model size tensor * context * pipeline does not divide `world`.
  static ProcessGrid from_world(int world, GridSizes model, RankOrder order = RankOrder::tp_cp_dp_pp);

  int world_size() const { return world_size_; }
  int size(Axis axis) const { return sizes_[index(axis)]; }
  RankOrder order() const { return order_; }

  int coordinate(int rank, Axis axis) const;
  GridCoordinates coordinates(int rank) const;
  int rank_of(const GridCoordinates& coordinates) const;

  // The group of `rank` along `axes`: all ranks that differ from it on these axes only. Members in Megatron's
  // order: of the chosen axes the one that is fastest in the rank order runs fastest, so along data | context
  // in both orders the context coordinate changes first. The empty set gives {rank}.
  std::vector<int> group_of(int rank, AxisSet axes) const;
  int group_size(AxisSet axes) const;
  int index_in_group(int rank,
                     AxisSet axes) const;  // group_of(rank, axes)[index_in_group(rank, axes)] == rank

  // All groups along `axes`, in the order in which Megatron creates them, and the place of one rank's group
  // in it.
  std::vector<std::vector<int>> groups(AxisSet axes) const;
  int group_number(int rank, AxisSet axes) const;

  // One level of a context group that is itself a grid: sizes[0] neighbours form a level-0 group, level 1
  // takes strides of sizes[0], and so on (--hierarchical-context-parallel-sizes). Members ascend by context
  // coordinate. ConfigError if the product of `sizes` is not the context size.
  std::vector<int> hierarchical_context_group_of(int rank, std::span<const int> sizes, int level) const;
  std::vector<std::vector<int>> hierarchical_context_groups(std::span<const int> sizes, int level) const;

 private:
  static constexpr std::size_t index(Axis axis) { return static_cast<std::size_t>(axis); }
  void check_rank(int rank) const;
  void check_hierarchy(std::span<const int> sizes, int level) const;
  int count_along(int rank, AxisSet axes) const;
  std::vector<int> offsets_along(AxisSet axes) const;

  std::array<int, kAxisCount> sizes_{};    // by Axis
  std::array<int, kAxisCount> strides_{};  // by Axis: by how much the rank grows with one step on it
  int world_size_ = 1;
  RankOrder order_;
};

// Megatron's start-up line, without a newline. An empty `hierarchical_context_sizes` prints as None.
std::string start_up_line(const ProcessGrid& grid, std::span<const int> hierarchical_context_sizes = {});

}  // namespace ringtron
