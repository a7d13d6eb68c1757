// Context-parallel attention against the reference: the cases worth a name. All ranks are threads of this
// process; random cases are in cp_attention_fuzz_test.cpp, negative controls in
// cp_attention_control_test.cpp.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/comm/local_communicator.h"
#include "tests/context_parallel/over_transport.h"

namespace ringtron {
namespace {

using testing::AttentionCase;
using testing::CaseSizes;
using testing::Results;

// Everything that all transports must do.
class CpAttentionOver : public testing::OverTransport {};
INSTANTIATE_TEST_SUITE_P(Transports, CpAttentionOver, ::testing::ValuesIn(cp_transports()), testing::transport_name);

TEST_P(CpAttentionOver, DenseMasks) {
  for (const CaseSizes& sizes : testing::parity_cases()) {
    for (const int ranks : {1, 2, 3, 8}) expect_parity(sizes, ranks);
  }
}

TEST_P(CpAttentionOver, WindowsDocumentsAndSinks) {
  for (CaseSizes sizes : testing::masked_cases()) {
    const std::pair<CpLayout, int> layouts[] = {
        {CpLayout::contiguous, 2}, {CpLayout::zigzag, 3}, {CpLayout::balanced, 4}};
    for (const auto& [layout, ranks] : layouts) {
      sizes.layout = layout;
      expect_parity(sizes, ranks);
    }
  }
}

TEST_P(CpAttentionOver, ShortestSequences) {
  for (const int ranks : {1, 2, 3, 4, 8}) {
    for (const std::int64_t length : {1, 2, 7, ranks - 1, ranks, ranks + 1}) {
      if (length < 1) continue;
      for (const bool causal : {true, false}) expect_parity({.sequence = length, .causal = causal}, ranks);
    }
  }
}

// Rank by rank, one holds no token; the others hold halves of the sequence in turn.
TEST_P(CpAttentionOver, OneRankHoldsNothing) {
  for (const int ranks : {2, 4}) {
    for (int empty = 0; empty < ranks; ++empty) {
      std::vector<std::vector<PositionRange>> ranges(static_cast<std::size_t>(ranks));
      std::int64_t begin = 0;
      for (int i = 0; i < ranks; ++i) {
        const std::int64_t end = begin + (i == empty ? 0 : 5 + i);
        ranges[static_cast<std::size_t>(i)].push_back({begin, end});
        begin = end;
      }
      const SequenceLayout layout("with a gap", ranges);
      expect_parity({.sequence = begin}, layout);
      expect_parity({.sequence = begin, .causal = false, .documents = {{3, 4}, {begin - 1}}}, layout);
      expect_parity({.sequence = begin, .window = {.left = 2}}, layout);
    }
  }
}

TEST_P(CpAttentionOver, OneTokenInAll) {
  for (const int ranks : {1, 2, 4}) {
    for (int owner = 0; owner < ranks; ++owner) {
      std::vector<std::vector<PositionRange>> ranges(static_cast<std::size_t>(ranks));
      ranges[static_cast<std::size_t>(owner)].push_back({0, 1});
      const SequenceLayout layout("one token", ranges);
      expect_parity({.sequence = 1}, layout);
      expect_parity({.sequence = 1, .causal = false, .dropout = 0.5, .softmax = SoftmaxKind::learnable}, layout);
    }
  }
}

TEST_P(CpAttentionOver, HeadsThatDoNotDivide) {
  const std::pair<int, int> heads[] = {{7, 7}, {7, 1}, {8, 2}, {6, 3}, {5, 1}, {1, 1}};
  for (const auto& [n, g] : heads) {
    for (const int ranks : {4, 8}) {
      expect_parity({.sequence = 18, .batch = 1, .heads = n, .groups = g, .value_size = 3, .dropout = 0.2}, ranks);
    }
  }
}

TEST_P(CpAttentionOver, SameBitsEveryTime) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16}) {
    for (const double dropout : {0.0, 0.2}) {
      const AttentionCase c = testing::make_case(over({.dropout = dropout}, 4));
      const SequenceLayout layout = zigzag_layout(48, 4);
      const std::vector<Results> first = testing::run_ring(c, layout, type);
      for (int repeat = 0; repeat < 3; ++repeat) {
        const std::vector<Results> again = testing::run_ring(c, layout, type);
        for (std::size_t rank = 0; rank < 4; ++rank) {
          for (std::size_t i = 0; i < 4; ++i) EXPECT_TENSOR_EQUAL(again[rank][i], first[rank][i]);
        }
      }
    }
  }
}

// fp32: 24 bits in inputs and sums; ranks add some roundings to a block's own.
TEST_P(CpAttentionOver, Fp32StaysNearFp64) {
  for (const CaseSizes& sizes : testing::masked_cases()) {
    const AttentionCase c = testing::make_case(over(sizes, 4));
    const SequenceLayout layout = testing::layout_of(sizes, 4);
    EXPECT_EQ(
        testing::differences(testing::run_ring(c, layout, at::kFloat), testing::reference_results(c), layout, 5e-6),
        "");
  }
}

TEST_P(CpAttentionOver, BackwardTwiceGivesTheSame) {
  const AttentionCase c = testing::make_case(over({.softmax = SoftmaxKind::learnable}, 4));
  const SequenceLayout layout = zigzag_layout(48, 4);
  testing::ThreadRing(4).run([&](Communicator& comm) {
    const auto attention = make_cp_attention(comm, layout, c.options);
    const auto mine = [&](const at::Tensor& x) { return testing::shard(x, layout, comm.rank()); };
    AttentionCall call = c.call;
    call.sink = c.call.sink.clone().set_requires_grad(true);
    const at::Tensor inputs[] = {mine(c.q).set_requires_grad(true), mine(c.k).set_requires_grad(true),
                                 mine(c.v).set_requires_grad(true), call.sink};
    const at::Tensor out = attention->forward(inputs[0], inputs[1], inputs[2], call);
    out.backward(mine(c.d_out), /*retain_graph=*/true);
    std::vector<at::Tensor> once;
    for (const at::Tensor& input : inputs) once.push_back(input.grad().clone());
    out.backward(mine(c.d_out));
    for (std::size_t i = 0; i < once.size(); ++i) EXPECT_TENSOR_EQUAL(inputs[i].grad(), once[i] * 2);
  });
}

// As a pipeline does: micro-batches of other documents and lengths are under way at the same time, and their
// backward passes come in another order than the forward ones. One attention serves them all.
TEST_P(CpAttentionOver, ManyShapesUnderWayAtOnce) {
  std::vector<CaseSizes> sizes = {{.documents = {{5, 30}, {}}},
                                  {.sequence = 31, .documents = {{7}, {1, 2}}},
                                  {.window = {.left = 9}, .documents = {{5, 30}, {}}},
                                  {.sequence = 3, .documents = {{}, {}}},
                                  {}};
  std::vector<AttentionCase> cases;
  for (CaseSizes& z : sizes) cases.push_back(testing::make_case(over(z, 4)));
  std::vector<std::vector<Results>> got(cases.size(), std::vector<Results>(4));
  testing::ThreadRing(4).run([&](Communicator& comm) {
    const auto attention = make_cp_attention(comm, zigzag_layout(48, 4), cases.front().options);
    std::vector<std::vector<at::Tensor>> leaves;
    std::vector<at::Tensor> outs;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      const AttentionCase& c = cases[i];
      const SequenceLayout layout = testing::layout_of(sizes[i], 4);
      leaves.emplace_back();
      for (const at::Tensor& x : {c.q, c.k, c.v}) {
        leaves.back().push_back(testing::shard(x, layout, comm.rank()).set_requires_grad(true));
      }
      outs.push_back(attention->forward(leaves[i][0], leaves[i][1], leaves[i][2], testing::call_on(c, layout)));
    }
    for (const std::size_t i : {2, 0, 4, 1, 3}) {
      outs[i].backward(testing::shard(cases[i].d_out, testing::layout_of(sizes[i], 4), comm.rank()));
      got[i][static_cast<std::size_t>(comm.rank())] = {outs[i].detach(), leaves[i][0].grad(), leaves[i][1].grad(),
                                                       leaves[i][2].grad()};
    }
  });
  for (std::size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(testing::differences(got[i], testing::reference_results(cases[i]), testing::layout_of(sizes[i], 4),
                                   testing::kFp64ReorderTolerance),
              "")
        << "case " << i;
  }
}

// More than an attention remembers plans of; the first ones' backward comes last.
TEST_P(CpAttentionOver, MoreShapesThanPlansAreKept) {
  constexpr std::int64_t kShapes = 40;
  std::vector<AttentionCase> cases;
  for (std::int64_t i = 0; i < kShapes; ++i) {
    const CaseSizes sizes{.sequence = 2 + i, .batch = 1, .heads = 2, .groups = 1, .documents = {{i / 2}}};
    cases.push_back(testing::make_case(over(sizes, 2)));
  }
  std::vector<std::vector<Results>> got(kShapes, std::vector<Results>(2));
  testing::ThreadRing(2).run([&](Communicator& comm) {
    const auto attention = make_cp_attention(comm, zigzag_layout(48, 2), cases.front().options);
    std::vector<at::Tensor> inputs, outs;
    for (const AttentionCase& c : cases) {
      const SequenceLayout layout = zigzag_layout(c.q.size(0), 2);
      inputs.push_back(testing::shard(c.q, layout, comm.rank()).set_requires_grad(true));
      outs.push_back(attention->forward(inputs.back(), testing::shard(c.k, layout, comm.rank()),
                                        testing::shard(c.v, layout, comm.rank()), testing::call_on(c, layout)));
    }
    for (std::size_t i = kShapes; i-- > 0;) {
      const SequenceLayout layout = zigzag_layout(cases[i].q.size(0), 2);
      outs[i].backward(testing::shard(cases[i].d_out, layout, comm.rank()));
      got[i][static_cast<std::size_t>(comm.rank())] = {outs[i].detach(), inputs[i].grad()};
    }
  });
  for (std::size_t i = 0; i < kShapes; ++i) {
    const Results expected = testing::reference_results(cases[i]);
    EXPECT_EQ(testing::differences(got[i], {expected[0], expected[1]}, zigzag_layout(cases[i].q.size(0), 2),
                                   testing::kFp64ReorderTolerance),
              "")
        << "case " << i;
  }
}

// Slices of one fused projection, and the gradient of a sum, which is one number seen everywhere.
TEST_P(CpAttentionOver, StridesDoNotMatter) {
  AttentionCase c = testing::make_case(over({}, 4));
  c.d_out.fill_(1.0);
  const Results expected = testing::reference_results(c);
  const SequenceLayout layout = zigzag_layout(48, 4);
  std::vector<Results> got(4);
  testing::ThreadRing(4).run([&](Communicator& comm) {
    const auto attention = make_cp_attention(comm, layout, c.options);
    const at::Tensor fused = testing::shard(at::cat({c.q, c.k, c.v}, 2), layout, comm.rank()).set_requires_grad(true);
    const at::Tensor out =
        attention->forward(fused.narrow(2, 0, 4), fused.narrow(2, 4, 2), fused.narrow(2, 6, 2), c.call);
    out.sum().backward();
    got[static_cast<std::size_t>(comm.rank())] = {out.detach(), fused.grad().narrow(2, 0, 4),
                                                  fused.grad().narrow(2, 4, 2), fused.grad().narrow(2, 6, 2)};
  });
  EXPECT_EQ(testing::differences(got, expected, layout, testing::kFp64ReorderTolerance), "");
}

// ||got - expected|| / ||expected|| of each result, in bf16. The reference gets the same rounded inputs, so that only
// the arithmetic's error counts.
std::vector<double> bf16_errors(AttentionCase c, const SequenceLayout& layout) {
  for (at::Tensor* x : {&c.q, &c.k, &c.v, &c.d_out}) *x = x->to(at::kBFloat16).to(at::kDouble);
  const Results expected = testing::reference_results(c);
  const Results got = testing::whole_of(testing::run_ring(c, layout, at::kBFloat16), layout);
  std::vector<double> errors;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    errors.push_back(((got[i] - expected[i]).norm() / expected[i].norm()).item<double>());
  }
  return errors;
}

std::vector<double> bf16_errors(const AttentionCase& c, int ranks) {
  return bf16_errors(c, zigzag_layout(c.q.size(0), ranks));
}

void expect_error_does_not_grow(const CaseSizes& sizes) {
  const AttentionCase c = testing::make_case(sizes);
  const std::vector<double> few = bf16_errors(c, 2), many = bf16_errors(c, 16);
  for (std::size_t i = 0; i < few.size(); ++i) {
    EXPECT_LT(few[i], 0.02) << testing::kResultNames[i];
    EXPECT_LT(many[i], 1.5 * few[i]) << testing::kResultNames[i];
    ::testing::Test::RecordProperty(testing::kResultNames[i], fmt::format("{:.3e} {:.3e}", few[i], many[i]));
  }
}

// Parts are merged and gradients added up in fp32, so bf16 costs no more on a long ring.
TEST(CpAttentionBf16, ErrorDoesNotGrowWithTheRing) { expect_error_does_not_grow({.sequence = 256, .head_size = 16}); }

// Values of another size: no fused kernel takes them.
TEST(CpAttentionBf16, ErrorDoesNotGrowWithTheRingOfComposedBlocks) {
  expect_error_does_not_grow({.sequence = 256, .head_size = 16, .value_size = 8});
}

TEST(CpAttention, RefusesALayoutOfAnotherSize) {
  LocalCommunicator one("context-parallel", 0);
  EXPECT_ANY_THROW(make_cp_attention(one, zigzag_layout(48, 2)));
  const auto attention = make_cp_attention(one, zigzag_layout(48, 1));
  AttentionCase c = testing::make_case({.documents = {{}, {}}});
  EXPECT_ANY_THROW(attention->forward(c.q, c.k, c.v, testing::call_on(c, zigzag_layout(48, 2))));
  EXPECT_ANY_THROW(attention->forward(c.q, c.k, c.v, testing::call_on(c, zigzag_layout(47, 1))));
}

TEST(CpAttention, RefusesBadDocuments) {
  LocalCommunicator one("context-parallel", 0);
  const auto attention = make_cp_attention(one, zigzag_layout(48, 1));
  const AttentionCase backwards = testing::make_case({.documents = {{5, 3}, {}}});
  EXPECT_THROW(attention->forward(backwards.q, backwards.k, backwards.v, backwards.call), ConfigError);
  const AttentionCase outside = testing::make_case({.documents = {{}, {48}}});
  EXPECT_THROW(attention->forward(outside.q, outside.k, outside.v, outside.call), ConfigError);
  const AttentionCase too_few = testing::make_case({.documents = {{5}}});
  EXPECT_ANY_THROW(attention->forward(too_few.q, too_few.k, too_few.v, too_few.call));
}

}  // namespace
}  // namespace ringtron
