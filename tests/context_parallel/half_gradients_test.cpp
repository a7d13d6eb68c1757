// Halves of the heads, put together.
#include "ringtron/context_parallel/half_gradients.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "ringtron/base/error.h"
#include "tests/support/tensor_near.h"

namespace ringtron::internal {
namespace {

TEST(HalfOf, HalvesAreAllHeadsOnce) {
  for (const std::int64_t groups : {0, 1, 2, 3, 8}) {
    const std::int64_t heads = 4 * groups;
    const HeadShare all = half_of(HeadPart::all, heads, groups, true);
    const HeadShare first = half_of(HeadPart::main, heads, groups, true), second = half_of(HeadPart::rest, heads, groups, true);
    EXPECT_EQ(all.q, (PositionRange{0, heads}));
    EXPECT_EQ(all.kv, (PositionRange{0, groups}));
    EXPECT_EQ(first.q, (PositionRange{0, 4 * first.kv.end}));
    EXPECT_EQ(second.q, (PositionRange{first.q.end, heads}));
    EXPECT_EQ(second.kv, (PositionRange{first.kv.end, groups}));
    EXPECT_LE(first.kv.length() - second.kv.length(), 1);
  }
}

// Seven query heads do not divide among three: they stay together.
TEST(HalfOf, IrregularHeadsAreNotCut) {
  EXPECT_EQ(half_of(HeadPart::all, 7, 3, false).q, (PositionRange{0, 7}));
  EXPECT_EQ(half_of(HeadPart::main, 7, 3, false).q, (PositionRange{0, 7}));
  EXPECT_TRUE(half_of(HeadPart::rest, 7, 3, false).q.empty());
}

class HalfGradientsTest : public ::testing::Test {
 protected:
  BlockGradient cut(const BlockGradient& all, HeadPart part) const {
    const HeadShare heads = half_of(part, 6, 3, true);
    return {of_heads(all.dq, 2, heads.q), of_heads(all.dk, 2, heads.kv), of_heads(all.dv, 2, heads.kv)};
  }
  void expect_whole(const BlockGradient& got) const {
    EXPECT_TENSOR_EQUAL(got.dq, gradient_.dq);
    EXPECT_TENSOR_EQUAL(got.dk, gradient_.dk);
    EXPECT_TENSOR_EQUAL(got.dv, gradient_.dv);
  }
  // One half after the other, in either order; `in_place`: the kernel writes into the room that it is given.
  void put_both(at::ScalarType type, bool in_place) {
    put_both(type, in_place, HeadPart::main, HeadPart::rest);
    put_both(type, in_place, HeadPart::rest, HeadPart::main);
  }
  void put_both(at::ScalarType type, bool in_place, HeadPart one, HeadPart other) {
    HalfGradients halves;
    const BlockGradient given{gradient_.dq.to(type), gradient_.dk.to(type), gradient_.dv.to(type)};
    for (const HeadPart part : {one, other}) {
      Attend attend{{0, 5}, 0, {0, 4}, Band::all(), kEverySample, part};
      const HeadShare heads = half_of(part, 6, 3, true);
      const BlockGradient room = halves.room(attend, heads, gradient_.dq, gradient_.dk, gradient_.dv);
      BlockGradient half = cut(given, part);
      if (in_place) {
        room.dq.copy_(half.dq);
        room.dk.copy_(half.dk);
        room.dv.copy_(half.dv);
        half = room;
      }
      const std::optional<BlockGradient> got = halves.put(attend, heads, half);
      ASSERT_EQ(got.has_value(), part == other);
      if (!got) continue;
      EXPECT_EQ(got->dq.scalar_type(), type);
      expect_whole({got->dq.to(at::kDouble), got->dk.to(at::kDouble), got->dv.to(at::kDouble)});
    }
  }

  // Small integers, exact in every type.
  BlockGradient gradient_{at::randint(100, {5, 2, 6, 8}, at::kDouble), at::randint(100, {4, 2, 3, 8}, at::kDouble),
                          at::randint(100, {4, 2, 3, 16}, at::kDouble)};
};

TEST_F(HalfGradientsTest, InTheRoomThatTheyWereGiven) { put_both(at::kDouble, true); }

TEST_F(HalfGradientsTest, InTensorsOfTheKernelsOwn) { put_both(at::kDouble, false); }

TEST_F(HalfGradientsTest, InAnotherTypeThanTheInputs) { put_both(at::kFloat, false); }

TEST_F(HalfGradientsTest, TwoAttendsAtATime) {
  HalfGradients halves;
  const Attend a{{0, 5}, 0, {0, 4}, Band::all(), kEverySample, HeadPart::main};
  Attend b = a;
  b.owner = 1;
  const HeadShare first = half_of(HeadPart::main, 6, 3, true), second = half_of(HeadPart::rest, 6, 3, true);
  for (const Attend& attend : {a, b}) {
    halves.room(attend, first, gradient_.dq, gradient_.dk, gradient_.dv);
    EXPECT_FALSE(halves.put(attend, first, cut(gradient_, HeadPart::main)));
  }
  for (Attend attend : {b, a}) {
    attend.heads = HeadPart::rest;
    const std::optional<BlockGradient> got = halves.put(attend, second, cut(gradient_, HeadPart::rest));
    ASSERT_TRUE(got);
    expect_whole(*got);
  }
}

TEST_F(HalfGradientsTest, OneHalfTwiceIsAnError) {
  HalfGradients halves;
  const Attend attend{{0, 5}, 0, {0, 4}, Band::all(), kEverySample, HeadPart::rest};
  const HeadShare rest = half_of(HeadPart::rest, 6, 3, true);
  halves.room(attend, rest, gradient_.dq, gradient_.dk, gradient_.dv);
  EXPECT_FALSE(halves.empty());
  EXPECT_FALSE(halves.put(attend, rest, cut(gradient_, HeadPart::rest)));
  EXPECT_THROW(halves.put(attend, rest, cut(gradient_, HeadPart::rest)), InternalError);
}

}  // namespace
}  // namespace ringtron::internal
