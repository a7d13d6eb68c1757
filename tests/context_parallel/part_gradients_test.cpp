// Parts of the heads, put together.
#include "ringtron/context_parallel/part_gradients.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "ringtron/base/error.h"
#include "tests/support/tensor_near.h"

namespace ringtron::internal {
namespace {

constexpr HeadPart kParts[] = {HeadPart::first, HeadPart::filler, HeadPart::last};

// Every head is in one part, query heads with the key/value head that they use.
void expect_all_heads_once(std::int64_t heads, std::int64_t groups, const HeadCut& cut) {
  PositionRange q, kv;
  for (const HeadPart part : kParts) {
    const HeadShare share = part_of(part, heads, groups, cut);
    EXPECT_EQ(share.q.begin, q.end);
    EXPECT_EQ(share.kv.begin, kv.end);
    q.end = share.q.end;
    kv.end = share.kv.end;
    if (groups > 0 && heads % groups == 0) {
      EXPECT_EQ(share.q.length(), share.kv.length() * (heads / groups));
    }
  }
  EXPECT_EQ(q.end, heads);
  EXPECT_EQ(kv.end, groups);
}

TEST(HeadCut, PartsAreAllHeadsOnce) {
  for (const std::int64_t groups : {0, 1, 2, 3, 8, 32}) {
    for (const bool filler : {false, true}) {
      SCOPED_TRACE(::testing::Message() << groups << " groups, filler " << filler);
      expect_all_heads_once(4 * groups, groups, cut_in_three(groups, true, filler));
      expect_all_heads_once(4 * groups, groups, cut_in_three(groups, false, filler));
      expect_all_heads_once(4 * groups, groups, cut_in_two(groups, filler));
    }
  }
  const HeadShare all = part_of(HeadPart::all, 32, 8, cut_in_two(8, true));
  EXPECT_EQ(all.q, (PositionRange{0, 32}));
  EXPECT_EQ(all.kv, (PositionRange{0, 8}));
}

TEST(HeadCut, AMessageHasHalfOfTheHeadsAndTheFillerAQuarterOfAll) {
  EXPECT_EQ(part_of(HeadPart::first, 32, 32, cut_in_three(32, true, false)).kv, (PositionRange{0, 16}));
  EXPECT_EQ(part_of(HeadPart::filler, 32, 32, cut_in_three(32, true, true)).kv, (PositionRange{12, 20}));
  EXPECT_EQ(part_of(HeadPart::filler, 32, 32, cut_in_two(32, true)).kv, (PositionRange{0, 16}));
  EXPECT_EQ(part_of(HeadPart::first, 9, 3, cut_in_three(3, true, false)).kv, (PositionRange{0, 2}));
}

// Seven query heads do not divide among three: they stay together.
TEST(HeadCut, IrregularHeadsAreNotCut) {
  EXPECT_EQ(part_of(HeadPart::first, 7, 3, cut_in_three(3, false, true)).q, (PositionRange{0, 7}));
  EXPECT_EQ(part_of(HeadPart::last, 7, 3, cut_in_two(3, false)).q, (PositionRange{0, 7}));
}

class PartGradientsTest : public ::testing::Test {
 protected:
  static constexpr HeadCut kCut{1, 2};  // of three groups: one each

  static HeadShare heads_of(HeadPart part) { return part_of(part, 6, 3, kCut); }
  static Attend attend_of(HeadPart part, PositionRange kv = {0, 4}) { return {{0, 5}, 0, kv, Band::all(), kEverySample, part}; }
  static BlockGradient cut(const BlockGradient& all, HeadPart part) {
    const HeadShare heads = heads_of(part);
    return {of_heads(all.dq, 2, heads.q), of_heads(all.dk, 2, heads.kv), of_heads(all.dv, 2, heads.kv)};
  }
  void expect_whole(const BlockGradient& got) const {
    EXPECT_TENSOR_EQUAL(got.dq, gradient_.dq);
    EXPECT_TENSOR_EQUAL(got.dk, gradient_.dk);
    EXPECT_TENSOR_EQUAL(got.dv, gradient_.dv);
  }
  // One part after the other, in any order; `in_place`: the kernel writes into the room that it is given.
  void put_all(at::ScalarType type, bool in_place) {
    put_all(type, in_place, {HeadPart::first, HeadPart::filler, HeadPart::last});
    put_all(type, in_place, {HeadPart::filler, HeadPart::last, HeadPart::first});
  }
  void put_all(at::ScalarType type, bool in_place, const std::vector<HeadPart>& order) {
    PartGradients parts;
    const BlockGradient given{gradient_.dq.to(type), gradient_.dk.to(type), gradient_.dv.to(type)};
    for (const HeadPart part : order) {
      const BlockGradient room = parts.room(attend_of(part), heads_of(part), gradient_.dq, gradient_.dk, gradient_.dv);
      BlockGradient gave = cut(given, part);
      if (in_place) {
        room.dq.copy_(gave.dq);
        room.dk.copy_(gave.dk);
        room.dv.copy_(gave.dv);
        gave = room;
      }
      const std::optional<BlockGradient> got = parts.put(attend_of(part), heads_of(part), gave);
      ASSERT_EQ(got.has_value(), part == order.back());
      if (!got) continue;
      EXPECT_EQ(got->dq.scalar_type(), type);
      expect_whole({got->dq.to(at::kDouble), got->dk.to(at::kDouble), got->dv.to(at::kDouble)});
    }
    EXPECT_TRUE(parts.empty());
  }

  // Small integers, exact in every type.
  BlockGradient gradient_{at::randint(100, {5, 2, 6, 8}, at::kDouble), at::randint(100, {4, 2, 3, 8}, at::kDouble),
                          at::randint(100, {4, 2, 3, 16}, at::kDouble)};
};

TEST_F(PartGradientsTest, InTheRoomThatTheyWereGiven) { put_all(at::kDouble, true); }

TEST_F(PartGradientsTest, InTensorsOfTheKernelsOwn) { put_all(at::kDouble, false); }

TEST_F(PartGradientsTest, InAnotherTypeThanTheInputs) { put_all(at::kFloat, false); }

TEST_F(PartGradientsTest, TwoAttendsAtATime) {
  PartGradients parts;
  const PositionRange rows[] = {{0, 4}, {4, 8}};
  for (const HeadPart part : kParts) {
    for (const PositionRange& kv : rows) {
      parts.room(attend_of(part, kv), heads_of(part), gradient_.dq, gradient_.dk, gradient_.dv);
      const std::optional<BlockGradient> got = parts.put(attend_of(part, kv), heads_of(part), cut(gradient_, part));
      ASSERT_EQ(got.has_value(), part == HeadPart::last);
      if (got) expect_whole(*got);
    }
  }
}

TEST_F(PartGradientsTest, OnePartTwiceIsAnError) {
  PartGradients parts;
  const Attend attend = attend_of(HeadPart::filler);
  const HeadShare heads = heads_of(HeadPart::filler);
  parts.room(attend, heads, gradient_.dq, gradient_.dk, gradient_.dv);
  EXPECT_FALSE(parts.put(attend, heads, cut(gradient_, HeadPart::filler)));
  EXPECT_FALSE(parts.empty());
  EXPECT_THROW(parts.put(attend, heads, cut(gradient_, HeadPart::filler)), InternalError);
}

}  // namespace
}  // namespace ringtron::internal
