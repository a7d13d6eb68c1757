// Groups against Megatron's worked examples, written out by hand, in both rank orders.
#include "ringtron/grid/process_grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <sstream>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

using Groups = std::vector<std::vector<int>>;

constexpr Axis kTp = Axis::tensor, kCp = Axis::context, kDp = Axis::data, kPp = Axis::pipeline;

// "0,2 1,3" -> {{0, 2}, {1, 3}}.
Groups parse(const std::string& text) {
  Groups groups;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    std::istringstream numbers(word);
    groups.emplace_back();
    for (std::string number; std::getline(numbers, number, ',');) groups.back().push_back(std::stoi(number));
  }
  return groups;
}

// One table of groups that a grid has to reproduce, members and creation order included.
struct Golden {
  AxisSet axes;
  const char* groups;
};

// The axis sets on which the grid differs from the table; also where a single rank's query disagrees with it.
std::vector<std::string> differences(const ProcessGrid& grid, const std::vector<Golden>& table) {
  std::vector<std::string> wrong;
  for (const Golden& golden : table) {
    const Groups expected = parse(golden.groups);
    bool same = grid.groups(golden.axes) == expected;
    for (std::size_t number = 0; number < expected.size(); ++number) {
      for (std::size_t k = 0; k < expected[number].size(); ++k) {
        const int rank = expected[number][k];
        same = same && grid.group_of(rank, golden.axes) == expected[number] &&
               grid.index_in_group(rank, golden.axes) == static_cast<int>(k) &&
               grid.group_number(rank, golden.axes) == static_cast<int>(number);
      }
    }
    if (!same) wrong.push_back(to_string(golden.axes));
  }
  return wrong;
}

const GridSizes kAllTwo = {.tensor = 2, .context = 2, .pipeline = 2, .data = 2};

const std::vector<Golden> kDefaultOrder16 = {
    {kTp, "0,1 2,3 4,5 6,7 8,9 10,11 12,13 14,15"},       {kCp, "0,2 1,3 4,6 5,7 8,10 9,11 12,14 13,15"},
    {kDp, "0,4 1,5 2,6 3,7 8,12 9,13 10,14 11,15"},       {kPp, "0,8 1,9 2,10 3,11 4,12 5,13 6,14 7,15"},
    {kDp | kCp, "0,2,4,6 1,3,5,7 8,10,12,14 9,11,13,15"}, {kTp | kCp, "0,1,2,3 4,5,6,7 8,9,10,11 12,13,14,15"},
    {kTp | kDp, "0,1,4,5 2,3,6,7 8,9,12,13 10,11,14,15"}, {kTp | kDp | kCp, "0,1,2,3,4,5,6,7 8,9,10,11,12,13,14,15"},
    {kTp | kPp, "0,1,8,9 2,3,10,11 4,5,12,13 6,7,14,15"},
};

const std::vector<Golden> kPipelineBeforeData16 = {
    {kTp, "0,1 2,3 4,5 6,7 8,9 10,11 12,13 14,15"},
    {kCp, "0,2 1,3 4,6 5,7 8,10 9,11 12,14 13,15"},
    {kPp, "0,4 1,5 2,6 3,7 8,12 9,13 10,14 11,15"},
    {kDp, "0,8 1,9 2,10 3,11 4,12 5,13 6,14 7,15"},
    {kDp | kCp, "0,2,8,10 1,3,9,11 4,6,12,14 5,7,13,15"},
    {kTp | kPp, "0,1,4,5 2,3,6,7 8,9,12,13 10,11,14,15"},
    {kTp | kDp | kCp, "0,1,2,3,8,9,10,11 4,5,6,7,12,13,14,15"},
};

const std::vector<Golden> kFourTwoTwo = {
    {kTp, "0,1,2,3 4,5,6,7 8,9,10,11 12,13,14,15"},
    {kCp, "0,4 1,5 2,6 3,7 8,12 9,13 10,14 11,15"},
    {kDp, "0,8 1,9 2,10 3,11 4,12 5,13 6,14 7,15"},
    {kDp | kCp, "0,4,8,12 1,5,9,13 2,6,10,14 3,7,11,15"},
};

TEST(ProcessGrid, GoldenDefaultOrder) {
  const ProcessGrid grid(kAllTwo);
  EXPECT_THAT(differences(grid, kDefaultOrder16), testing::IsEmpty());
  EXPECT_EQ(grid.coordinates(13), (GridCoordinates{.tensor = 1, .context = 0, .pipeline = 1, .data = 1}));
}

TEST(ProcessGrid, GoldenPipelineBeforeData) {
  EXPECT_THAT(differences(ProcessGrid(kAllTwo, RankOrder::tp_cp_pp_dp), kPipelineBeforeData16), testing::IsEmpty());
}

TEST(ProcessGrid, GoldenWithoutPipeline) {
  for (const RankOrder order : {RankOrder::tp_cp_dp_pp, RankOrder::tp_cp_pp_dp}) {
    EXPECT_THAT(differences(ProcessGrid::from_world(16, {.tensor = 4, .context = 2}, order), kFourTwoTwo),
                testing::IsEmpty());
    EXPECT_THAT(differences(ProcessGrid::from_world(8, {.tensor = 4, .context = 2}, order), {{kCp, "0,4 1,5 2,6 3,7"}}),
                testing::IsEmpty());
    EXPECT_THAT(differences(ProcessGrid::from_world(8, {.tensor = 2, .context = 4}, order), {{kCp, "0,2,4,6 1,3,5,7"}}),
                testing::IsEmpty());
  }
}

// Negative control: the comparison must see a wrong rank order and a swapped pair of members.
TEST(ProcessGrid, GoldenComparisonSeesWrongOrder) {
  EXPECT_THAT(differences(ProcessGrid(kAllTwo, RankOrder::tp_cp_pp_dp), kDefaultOrder16),
              testing::UnorderedElementsAre("dp", "pp", "cp-dp", "tp-dp", "tp-cp-dp", "tp-pp"));
  EXPECT_THAT(differences(ProcessGrid(kAllTwo), kPipelineBeforeData16), testing::Not(testing::IsEmpty()));
  EXPECT_THAT(differences(ProcessGrid::from_world(8, {.tensor = 2, .context = 4}), {{kCp, "0,4,2,6 1,3,5,7"}}),
              testing::ElementsAre("cp"));
}

// Megatron's rule (strides over the unmasked axes choose the group, over the masked ones the member) stated
// afresh, as a check on sizes that the worked examples do not have.
TEST(ProcessGrid, EveryAxisSetPartitionsTheWorld) {
  for (const RankOrder order : {RankOrder::tp_cp_dp_pp, RankOrder::tp_cp_pp_dp}) {
    const ProcessGrid grid({.tensor = 2, .context = 3, .pipeline = 4, .data = 5}, order);
    for (unsigned bits = 0; bits < 16; ++bits) {
      AxisSet axes;
      for (const Axis axis : axes_in_order(order)) {
        if (bits >> static_cast<unsigned>(axis) & 1u) axes = axes | axis;
      }
      std::vector<int> seen;
      for (const std::vector<int>& group : grid.groups(axes)) {
        EXPECT_EQ(static_cast<int>(group.size()), grid.group_size(axes));
        EXPECT_TRUE(std::is_sorted(group.begin(), group.end()));
        for (const int rank : group) EXPECT_EQ(grid.group_of(rank, axes), group);
        seen.insert(seen.end(), group.begin(), group.end());
      }
      std::sort(seen.begin(), seen.end());
      std::vector<int> everyone(static_cast<std::size_t>(grid.world_size()));
      std::iota(everyone.begin(), everyone.end(), 0);
      EXPECT_EQ(seen, everyone) << to_string(axes);
    }
  }
}

TEST(ProcessGrid, RankAndCoordinatesAreInverse) {
  const ProcessGrid grid({.tensor = 2, .context = 3, .pipeline = 4, .data = 5});
  for (int rank = 0; rank < grid.world_size(); ++rank) EXPECT_EQ(grid.rank_of(grid.coordinates(rank)), rank);
  EXPECT_EQ(grid.rank_of({.tensor = 1, .context = 2, .pipeline = 3, .data = 4}), 1 + 2 * (2 + 3 * (4 + 5 * 3)));
  EXPECT_THROW(grid.coordinate(grid.world_size(), kTp), InternalError);
  EXPECT_THROW(grid.rank_of({.tensor = 2}), InternalError);
}

TEST(ProcessGrid, HierarchicalContextGroups) {
  const ProcessGrid grid = ProcessGrid::from_world(16, {.context = 16});
  const std::vector<int> sizes = {2, 2, 4};
  EXPECT_EQ(grid.hierarchical_context_groups(sizes, 0), parse("0,1 2,3 4,5 6,7 8,9 10,11 12,13 14,15"));
  EXPECT_EQ(grid.hierarchical_context_groups(sizes, 1), parse("0,2 1,3 4,6 5,7 8,10 9,11 12,14 13,15"));
  EXPECT_EQ(grid.hierarchical_context_groups(sizes, 2), parse("0,4,8,12 1,5,9,13 2,6,10,14 3,7,11,15"));
  const ProcessGrid inside_tensor = ProcessGrid::from_world(8, {.tensor = 2, .context = 4});
  const std::vector<int> pairs = {2, 2};
  EXPECT_EQ(inside_tensor.hierarchical_context_groups(pairs, 0), parse("0,2 4,6 1,3 5,7"));
  EXPECT_EQ(inside_tensor.hierarchical_context_group_of(7, pairs, 1), (std::vector<int>{3, 7}));
  const std::vector<int> bad = {2, 3};
  EXPECT_THROW(inside_tensor.hierarchical_context_groups(bad, 0), ConfigError);
}

TEST(ProcessGrid, HundredThousandRanks) {
  const ProcessGrid grid = ProcessGrid::from_world(100'000, {.tensor = 8, .context = 5, .pipeline = 10});
  EXPECT_EQ(grid.size(Axis::data), 250);
  const int rank = 98'765;
  EXPECT_EQ(grid.group_of(rank, kDp | kCp)[static_cast<std::size_t>(grid.index_in_group(rank, kDp | kCp))], rank);
  EXPECT_EQ(grid.groups(kTp).size(), 12'500u);
  EXPECT_EQ(grid.groups(kTp | kCp | kDp | kPp).front().size(), 100'000u);
}

TEST(ProcessGrid, SizesThatDoNotFit) {
  try {
    ProcessGrid::from_world(6, {.tensor = 2, .context = 2});
    FAIL() << "expected ConfigError";
  } catch (const ConfigError& e) {
    EXPECT_THAT(e.what(),
                testing::StartsWith("world size (6) is not divisible by total_model_size (total_model_size=4)"));
  }
  EXPECT_THROW(ProcessGrid::from_world(8, {.tensor = 0}), ConfigError);
  EXPECT_THROW(ProcessGrid::from_world(0, {}), ConfigError);
  EXPECT_THROW(ProcessGrid({.tensor = 1 << 16, .context = 1 << 16, .pipeline = 1 << 16, .data = 1 << 16}), ConfigError);
}

TEST(ProcessGrid, StartUpLine) {
  const ProcessGrid grid = ProcessGrid::from_world(8, {.tensor = 4, .context = 2});
  EXPECT_EQ(start_up_line(grid),
            "using world size: 8, data-parallel size: 1, context-parallel size: 2, hierarchical "
            "context-parallel sizes: "
            "None, tensor-model-parallel size: 4, pipeline-model-parallel size: 1");
  const std::vector<int> sizes = {2, 4};
  EXPECT_THAT(start_up_line(ProcessGrid::from_world(8, {.context = 8}), sizes),
              testing::HasSubstr("hierarchical context-parallel sizes: [2, 4], tensor-model-parallel size: 1"));
}

}  // namespace
}  // namespace ringtron
