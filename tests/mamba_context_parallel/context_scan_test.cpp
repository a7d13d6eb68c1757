// Convolution and scan over many ranks, both ways, are those of one process: outputs and all gradients in fp64, any
// layout, documents, length and numbers of heads. Bytes are those of the closed forms. Ranks are threads.
#include "ringtron/mamba_context_parallel/context_scan.h"

#include <gtest/gtest.h>

#include "ringtron/comm/decorators/counting_communicator.h"
#include "tests/mamba_context_parallel/scan_case.h"
#include "tests/support/tensor_near.h"

namespace ringtron::testing {
namespace {

constexpr double kSameSums = 1e-10;
const char* const kNames[] = {"y", "xbc", "dt", "conv weight", "conv bias", "a", "d", "dt_bias"};

SequenceLayout one(std::int64_t length) { return contiguous_layout(length, 1); }

// Chunks of any lengths, dealt to ranks at random; some have many, some none.
SequenceLayout dealt_layout(std::int64_t length, int ranks, std::mt19937& random) {
  std::vector<std::vector<PositionRange>> of_rank(static_cast<std::size_t>(ranks));
  for (std::int64_t begin = 0; begin < length;) {
    const std::int64_t end = std::min(length, begin + 1 + static_cast<std::int64_t>(random() % 7));
    of_rank[random() % static_cast<unsigned>(ranks)].push_back({begin, end});
    begin = end;
  }
  return SequenceLayout("dealt", std::move(of_rank));
}

ScanCase random_case(std::uint64_t key, std::mt19937& random) {
  const auto pick = [&random](std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(random()) % (most - least + 1);
  };
  const std::int64_t groups = pick(1, 3);
  ScanCase c = make_scan_case({groups * pick(1, 4), pick(1, 3), groups, pick(1, 3)}, pick(1, 40), pick(1, 2), key);
  if (random() % 3 != 0) add_documents(c, static_cast<int>(pick(1, 20)), random);
  return c;
}

void expect_same(const std::vector<at::Tensor>& got, const std::vector<at::Tensor>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_TENSOR_NEAR(got[i], expected[i], kSameSums) << kNames[i];
}

TEST(ContextScan, EqualsOneProcess) {
  for (std::uint64_t key = 0; key < 150 && !::testing::Test::HasFailure(); ++key) {
    SCOPED_TRACE(key);
    std::mt19937 random(static_cast<unsigned>(key));
    const ScanCase c = random_case(10 * key, random);
    const int ranks = 1 + static_cast<int>(key % 8);
    const SequenceLayout layout = key % 3 == 0   ? zigzag_layout(c.length, ranks)
                                  : key % 3 == 1 ? contiguous_layout(c.length, ranks)
                                                 : dealt_layout(c.length, ranks, random);
    const std::vector<at::Tensor> expected = scan_over_ranks(c, one(c.length), ScanWay::states);
    expect_same(scan_over_ranks(c, layout, ScanWay::states), expected);
    expect_same(scan_over_ranks(c, layout, ScanWay::heads), expected);
  }
}

TEST(ContextScan, EqualsOneProcessOverLongSequences) {
  for (const std::int64_t length : {4096, 4097}) {
    const ScanCase c = make_scan_case({4, 4, 2, 4}, length, 1, 3);
    const std::vector<at::Tensor> expected = scan_over_ranks(c, one(c.length), ScanWay::states);
    for (const ScanWay way : {ScanWay::states, ScanWay::heads}) {
      expect_same(scan_over_ranks(c, zigzag_layout(c.length, 4), way), expected);
    }
  }
}

TEST(ContextScan, ComparisonSeesFaults) {  // negative control: two chunks swapped, a document's start moved
  std::mt19937 random(1);
  ScanCase c = make_scan_case({4, 2, 2, 3}, 32, 1, 5);
  c.documents = {{9}};
  const std::vector<at::Tensor> expected = scan_over_ranks(c, one(c.length), ScanWay::states);
  const SequenceLayout swapped("swapped", {{{8, 16}}, {{0, 8}}, {{16, 24}}, {{24, 32}}});
  expect_same(scan_over_ranks(c, swapped, ScanWay::states), expected);  // a layout as any other
  ScanCase other = c;
  other.documents = {{10}};
  EXPECT_FALSE(tensor_near(scan_over_ranks(other, swapped, ScanWay::states)[0], expected[0], kSameSums));
  const at::Tensor chunks = c.inputs[0].view({4, 8, 1, -1});
  other = c;
  other.inputs[0] = at::stack({chunks[0], chunks[2], chunks[1], chunks[3]}).view_as(c.inputs[0]);
  EXPECT_FALSE(tensor_near(scan_over_ranks(other, swapped, ScanWay::states)[0], expected[0], kSameSums));
}

// Of all ranks, forward and backward.
std::int64_t bytes_sent(const ScanCase& c, const SequenceLayout& layout, ScanWay way) {
  std::atomic<std::int64_t> bytes = 0;
  ThreadRing(layout.ranks()).run([&](Communicator& comm) {
    CountingCommunicator counting(comm);
    scan_results(c, layout, way, counting);
    bytes += counting.counts().total_bytes();
  });
  return bytes;
}

TEST(ContextScan, StatesTravelByTheClosedForm) {
  const ScanSizes z{8, 3, 2, 5};
  for (const std::int64_t n : {1, 2, 4, 8}) {
    for (const std::int64_t length : {64, 256}) {
      const std::int64_t samples = 2, state = z.head_size * z.state_size;
      const ScanCase c = make_scan_case(z, length, samples, 7);
      // Zigzag has 2n - 1 pieces, since the last rank's chunks are neighbours. Each of the links between them takes a
      // state and its decay to the ranks that share out the heads, and a state back.
      const std::int64_t links = 2 * n - 2;
      const std::int64_t states = links * z.heads * (2 * state + 1) * (n - 1) / n;
      const std::int64_t rows = links * 3 * (z.inner() + 2 * z.shared());
      const std::int64_t both_ways = 2 * 8 * samples * (states + rows);
      EXPECT_EQ(bytes_sent(c, zigzag_layout(length, static_cast<int>(n)), ScanWay::states), both_ways);
      EXPECT_EQ(bytes_sent(c, contiguous_layout(length, static_cast<int>(n)), ScanWay::states), both_ways / 2);
    }
  }
}

TEST(ContextScan, HeadsTravelByTheClosedForm) {
  const ScanSizes z{8, 3, 2, 5};
  for (const std::int64_t n : {1, 2, 4, 8}) {
    const std::int64_t length = 64, samples = 2;
    const ScanCase c = make_scan_case(z, length, samples, 8);
    const std::int64_t groups = n > z.groups ? n : z.groups;  // with the copies of those that several ranks read
    const std::int64_t in = z.heads * (z.head_size + 1) + groups * 2 * z.state_size, out = z.heads * z.head_size;
    EXPECT_EQ(bytes_sent(c, zigzag_layout(length, static_cast<int>(n)), ScanWay::heads),
              2 * 8 * length * samples * (in + out) * (n - 1) / n);
  }
}

// What check_cp_config tells, of each rank; any lengths and heads.
TEST(ContextScan, BytesOfEachRankArePredicted) {
  for (const ScanSizes& z : {ScanSizes{8, 3, 2, 5}, ScanSizes{6, 2, 3, 4}, ScanSizes{2, 2, 1, 3}}) {
    for (const auto& [length, n] : {std::pair<std::int64_t, int>{64, 4}, {37, 3}, {5, 4}, {3, 8}}) {
      for (const SequenceLayout& layout : {zigzag_layout(length, n), contiguous_layout(length, n)}) {
        for (const ScanWay way : {ScanWay::states, ScanWay::heads}) {
          const ScanCase c = make_scan_case(z, length, 2, 8);
          ThreadRing(n).run([&](Communicator& comm) {
            CountingCommunicator counting(comm);
            scan_results(c, layout, way, counting);
            const ScanBytes told = scan_bytes(layout, way, {z, 2, 3, 8, 8}, comm.rank());
            EXPECT_EQ(counting.counts().total_bytes(), told.forward + told.backward) << length << " over " << n;
          });
        }
      }
    }
  }
}

// 128 heads of 64, state 128, 8 groups, bf16, 8K tokens a rank: states take less than a tenth of what heads take.
TEST(ContextScan, StatesAreAFractionOfHeads) {
  for (const int n : {2, 4, 8}) {
    const SequenceLayout layout = zigzag_layout(8192 * n, n);
    const ScanMessages messages{{128, 64, 8, 128}, 1, 3, 2, 4};
    for (int rank = 0; rank < n; ++rank) {
      const ScanBytes states = scan_bytes(layout, ScanWay::states, messages, rank);
      const ScanBytes heads = scan_bytes(layout, ScanWay::heads, messages, rank);
      EXPECT_LT(10 * states.forward, heads.forward);
      EXPECT_LT(10 * states.backward, heads.backward);
    }
  }
}

TEST(ContextScan, NoDocumentGoesOverNothingIsSent) {
  ScanCase c = make_scan_case({4, 3, 2, 5}, 64, 1, 9);
  c.documents = {{16, 32, 40, 48}};
  EXPECT_EQ(bytes_sent(c, contiguous_layout(64, 4), ScanWay::states), 0);
}

}  // namespace
}  // namespace ringtron::testing
