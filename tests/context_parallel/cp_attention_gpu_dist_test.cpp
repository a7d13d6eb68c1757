// Context-parallel attention on GPUs, so long that attends run beside each other: equal to one rank's, whoever is late.
#include <ATen/ATen.h>
#include <ATen/cuda/Sleep.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "ringtron/comm/local_communicator.h"
#include "ringtron/comm/make_communicator.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/tools/faults/faulty_attention.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

constexpr std::int64_t kLateness = 5'000'000;  // cycles: some 3 ms
constexpr double kTolerance = 1e-2;            // bf16: one rank's own error is 2.4e-3
constexpr std::int64_t kHeads = 32, kSize = 128;

struct Tensors {
  at::Tensor q, k, v, d_out;
};
using Results = std::array<at::Tensor, 4>;  // out, dq, dk, dv

// The same on all ranks.
Tensors inputs(std::int64_t rows, std::int64_t groups) {
  at::manual_seed(31);
  const auto draw = [&](std::int64_t heads) {
    return at::randn({rows, 1, heads, kSize}).to(at::kBFloat16).to(at::kCUDA);
  };
  return {draw(kHeads), draw(groups), draw(groups), draw(kHeads)};
}

at::Tensor rows_of(const at::Tensor& x, const SequenceLayout& layout, int rank) {
  std::vector<at::Tensor> rows = {x.narrow(0, 0, 0)};
  for (const PositionRange& range : layout.of(rank)) rows.push_back(x.narrow(0, range.begin, range.length()));
  return at::cat(rows);
}

// Of the last of several calls that nobody waited for in between; this rank is late in every second of them.
Results run(Communicator& group, const SequenceLayout& layout, const AttentionCall& call, const Tensors& whole,
            int times, CpFault fault = CpFault::none) {
  const auto mine = [&](const at::Tensor& x) { return rows_of(x, layout, group.rank()); };
  const at::Tensor q = mine(whole.q).set_requires_grad(true), k = mine(whole.k).set_requires_grad(true),
                   v = mine(whole.v).set_requires_grad(true), d_out = mine(whole.d_out);
  const auto attention = make_faulty_attention(group, layout, {}, fault);
  at::Tensor out;
  for (int time = 0; time < times; ++time) {
    for (const at::Tensor& x : {q, k, v}) x.mutable_grad().reset();
    if (time % 2 == group.rank()) at::cuda::sleep(kLateness);
    out = attention->forward(q, k, v, call);
    if (time % 2 != group.rank()) at::cuda::sleep(kLateness);
    out.backward(d_out);
  }
  return {out.detach(), q.grad(), k.grad(), v.grad()};
}

double worst_difference(const Results& got, const Results& whole, const SequenceLayout& layout, int rank) {
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const at::Tensor expected = rows_of(whole[i], layout, rank).to(at::kFloat);
    const double difference = ((got[i].to(at::kFloat) - expected).norm() / expected.norm()).item<double>();
    if (std::isnan(difference)) return INFINITY;
    worst = std::max(worst, difference);
  }
  return worst;
}

struct Case {
  std::int64_t groups = 4;
  std::vector<std::int64_t> documents = {};
  double dropout = 0;
  std::int64_t more_rows = 5;  // than a multiple of everything
};

void expect_one_ranks_results(testing::RankContext& ranks, const Case& c) {
  if (c10::cuda::device_count() < ranks.size()) GTEST_SKIP() << "fewer GPUs than ranks";
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(ranks.rank()));
  std::vector<int> all(static_cast<std::size_t>(ranks.size()));
  std::iota(all.begin(), all.end(), 0);
  const auto group = make_communicator(Backend::nccl, "context", all, ranks.rendezvous());
  LocalCommunicator alone("one rank", ranks.rank());

  const std::int64_t rows = 4096 * ranks.size() + c.more_rows;
  const Tensors whole = inputs(rows, c.groups);
  const SequenceLayout layout = zigzag_layout(rows, ranks.size()), one = zigzag_layout(rows, 1);
  const auto call_of = [&](const SequenceLayout& of, CpTransport transport) {
    AttentionCall call;
    call.scale = 1.0 / std::sqrt(static_cast<double>(kSize));
    call.transport = transport;
    if (!c.documents.empty()) call.shape = std::make_shared<SequenceShape>(SequenceShape{of, {c.documents}});
    if (c.dropout > 0) call.dropout = AttentionDropout{.p = c.dropout, .key = 77, .sample_numbers = {3}};
    return call;
  };
  const Results expected = run(alone, one, call_of(one, CpTransport::p2p), whole, 1);
  for (const CpTransport transport : {CpTransport::p2p, CpTransport::all_gather, CpTransport::a2a}) {
    const AttentionCall call = call_of(layout, transport);
    const Results got = run(*group, layout, call, whole, 6);
    EXPECT_LE(worst_difference(got, expected, layout, ranks.rank()), kTolerance) << to_text(transport);
    const Results wrong = run(*group, layout, call, whole, 2, CpFault::skip_exchange);
    EXPECT_GT(worst_difference(wrong, expected, layout, ranks.rank()), 10 * kTolerance)
        << to_text(transport) << " without messages";
  }
}

DIST_TEST(CpAttentionGpu, ManyKeyValueHeads, 2, 4) { expect_one_ranks_results(ranks, {.groups = 32}); }
DIST_TEST(CpAttentionGpu, FewKeyValueHeads, 2, 4) { expect_one_ranks_results(ranks, {}); }
// Long and short ones, and one over all ranks: several varlen batches, in groups.
DIST_TEST(CpAttentionGpu, Documents, 2, 4) {
  expect_one_ranks_results(ranks, {.documents = {0, 7, 8, 300, 900, 1000, 1100, 1300, 7000}});
}
// The mask of one rank whatever the division, in chunks that begin where random blocks do and elsewhere.
DIST_TEST(CpAttentionGpu, Dropout, 2, 4) { expect_one_ranks_results(ranks, {.dropout = 0.2, .more_rows = 0}); }
DIST_TEST(CpAttentionGpu, DropoutOfUnevenChunks, 2, 4) {
  expect_one_ranks_results(ranks, {.groups = 32, .dropout = 0.2});
}

}  // namespace
}  // namespace ringtron
