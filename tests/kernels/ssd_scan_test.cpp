// The scan in chunks and the causal convolution, with all their gradients, against plain recurrences in fp64.
#include "ringtron/kernels/ssd_scan/ssd_scan.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <map>
#include <random>

#include "ringtron/kernels/causal_conv/causal_conv.h"
#include "tests/kernels/scan_segments_for_tests.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::random_segments;
using testing::random_tensor;
using Tensors = std::vector<at::Tensor>;

constexpr double kSameSums = 1e-10;  // fp64, sums over up to 4,097 rows in another order
const char* const kNames[] = {"x", "dt", "B", "C", "a", "d", "dt_bias", "initial"};

struct Case {
  std::int64_t rows = 1, samples = 1, heads = 1, groups = 1, size = 1, states = 1;
  SsdOptions options;
  std::shared_ptr<const ScanSegments> segments;
  Tensors inputs;           // x, dt, B, C, a, d, dt_bias, initial
  at::Tensor d_y, d_final;  // gradients
};

Case random_case(std::uint64_t key, std::int64_t most_rows) {
  std::mt19937 random(static_cast<unsigned>(key));
  const auto pick = [&random](std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(random()) % (most - least + 1);
  };
  Case c;
  c.rows = pick(1, most_rows);
  c.samples = pick(1, 2);
  c.groups = pick(1, 2);
  c.heads = c.groups * pick(1, 3);
  c.size = pick(1, 4);
  c.states = pick(1, 5);
  c.options.chunk = pick(1, 40);
  if (pick(0, 3) == 0) c.options.least_step = 0.3;
  if (pick(0, 3) == 0) c.options.most_step = 1.2;
  c.segments = random_segments(c.rows, c.samples, static_cast<int>(pick(1, most_rows)), random);
  c.inputs = {random_tensor({c.rows, c.samples, c.heads, c.size}, key),
              random_tensor({c.rows, c.samples, c.heads}, key + 1),
              random_tensor({c.rows, c.samples, c.groups, c.states}, key + 2),
              random_tensor({c.rows, c.samples, c.groups, c.states}, key + 3),
              -random_tensor({c.heads}, key + 4).exp() * 0.1,
              random_tensor({c.heads}, key + 5),
              random_tensor({c.heads}, key + 6),
              random_tensor({c.segments->initials(), c.heads, c.size, c.states}, key + 7)};
  c.d_y = random_tensor(c.inputs[0].sizes(), key + 8);
  c.d_final = random_tensor({c.segments->finals(), c.heads, c.size, c.states}, key + 9);
  return c;
}

SsdInputs inputs_of(const Tensors& t) { return {t[0], t[1], t[2], t[3], t[4], t[5], t[6]}; }

struct Results {
  at::Tensor y, final;
  Tensors gradients;
};

// Row by row, under autograd.
Results plain(const Case& c) {
  Tensors in;
  for (const at::Tensor& t : c.inputs) in.push_back(t.detach().clone().requires_grad_());
  const std::int64_t per_group = c.heads / c.groups;
  const at::Tensor t = at::softplus(in[1] + in[6]).clamp(c.options.least_step, c.options.most_step);
  const at::Tensor decay = (t * in[4]).exp(), u = in[0] * t.unsqueeze(-1);
  const at::Tensor B = in[2].repeat_interleave(per_group, 2), C = in[3].repeat_interleave(per_group, 2);
  const Tensors decays = decay.flatten(0, 1).unbind(0), us = u.flatten(0, 1).unbind(0), Bs = B.flatten(0, 1).unbind(0),
                Cs = C.flatten(0, 1).unbind(0);
  Tensors y(static_cast<std::size_t>(c.rows * c.samples));
  std::map<int, at::Tensor> finals;
  for (const ScanSegment& s : c.segments->list()) {
    at::Tensor state =
        s.initial >= 0 ? in[7].select(0, s.initial) : at::zeros({c.heads, c.size, c.states}, at::kDouble);
    for (std::int64_t i = s.begin; i < s.end; ++i) {
      const auto row = static_cast<std::size_t>(i * c.samples + s.sample);
      state = decays[row].view({-1, 1, 1}) * state + us[row].unsqueeze(-1) * Bs[row].unsqueeze(1);
      y[row] = at::matmul(state, Cs[row].unsqueeze(-1)).squeeze(-1);
    }
    if (s.final >= 0) finals[s.final] = state;
  }
  Results out;
  const at::Tensor all = at::stack(y).view_as(in[0]) + in[0] * in[5].unsqueeze(-1);
  at::Tensor sum = (all * c.d_y).sum();
  Tensors ends;
  for (const auto& [line, state] : finals) ends.push_back(state);
  out.final = ends.empty() ? at::zeros_like(c.d_final) : at::stack(ends);
  sum = sum + (out.final * c.d_final).sum();
  out.y = all.detach();
  out.gradients = torch::autograd::grad({sum}, in, {}, std::nullopt, false, /*allow_unused=*/true);
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (!out.gradients[i].defined()) out.gradients[i] = at::zeros_like(in[i]);
  }
  return out;
}

// What segments end with, of what they would end with from zero, and the same of gradients.
at::Tensor with_passed(const SsdEnds& ends, const at::Tensor& passed, const ScanSegments& segments, bool reversed) {
  at::Tensor all = ends.state.clone();
  for (const ScanSegment& s : segments.list()) {
    if (s.initial < 0 || s.final < 0) continue;
    const int to = reversed ? s.initial : s.final, from = reversed ? s.final : s.initial;
    all.select(0, to).add_(ends.log_decay.select(0, to).exp().view({-1, 1, 1}) * passed.select(0, from));
  }
  return all;
}

Results in_chunks(const Case& c) {
  const SsdInputs in = inputs_of(c.inputs);
  SsdStates states = ssd_states(in, *c.segments, c.options);
  const at::Tensor final = with_passed(states.ends, c.inputs[7], *c.segments, false);
  SsdBackwardStates backward = ssd_backward_states(in, *c.segments, c.options, c.d_y);
  const at::Tensor initial = with_passed(backward.gradients.ends, c.d_final, *c.segments, true);
  SsdGradients g = ssd_gradients(in, *c.segments, c.options, c.inputs[7], c.d_y, std::move(backward), c.d_final);
  EXPECT_TENSOR_NEAR(g.initial, initial, kSameSums);
  return {ssd_outputs(in, *c.segments, c.options, std::move(states), c.inputs[7]),
          final,
          {g.x, g.dt, g.B, g.C, g.a, g.d, g.dt_bias, g.initial}};
}

void expect_same(const Results& got, const Results& expected) {
  EXPECT_TENSOR_NEAR(got.y, expected.y, kSameSums);
  EXPECT_TENSOR_NEAR(got.final, expected.final, kSameSums);
  for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
    EXPECT_TENSOR_NEAR(got.gradients[i], expected.gradients[i], kSameSums) << kNames[i];
  }
}

TEST(SsdScan, EqualsTheRecurrence) {
  for (std::uint64_t key = 0; key < 300 && !::testing::Test::HasFailure(); ++key) {
    SCOPED_TRACE(key);
    const Case c = random_case(1000 + 10 * key, key < 290 ? 30 : 200);
    expect_same(in_chunks(c), plain(c));
  }
}

TEST(SsdScan, EqualsTheRecurrenceOverLongDocuments) {
  for (const std::int64_t rows : {1, 127, 128, 129, 4096, 4097}) {
    Case c = random_case(5, 1);
    c.rows = rows;
    c.samples = c.groups = 1;
    c.heads = 2;
    c.size = 3;
    c.states = 4;
    c.options = {};
    c.segments = std::make_shared<const ScanSegments>(rows, 1, std::vector<ScanSegment>{{0, 0, rows, 0, 0}});
    c.inputs = {random_tensor({rows, 1, 2, 3}, 1),
                random_tensor({rows, 1, 2}, 2),
                random_tensor({rows, 1, 1, 4}, 3),
                random_tensor({rows, 1, 1, 4}, 4),
                at::full({2}, -0.01, at::kDouble),
                random_tensor({2}, 5),
                random_tensor({2}, 6),
                random_tensor({1, 2, 3, 4}, 7)};
    c.d_y = random_tensor({rows, 1, 2, 3}, 8);
    c.d_final = random_tensor({1, 2, 3, 4}, 9);
    expect_same(in_chunks(c), plain(c));
  }
}

// Segments of this process alone, each of which continues the one before it.
class Chain : public SsdExchange {
 public:
  explicit Chain(std::shared_ptr<const ScanSegments> segments) : segments_(std::move(segments)) {}
  at::Tensor initial_states(const SsdEnds& finals) override {
    at::Tensor initial =
        at::zeros({segments_->initials(), finals.state.size(1), finals.state.size(2), finals.state.size(3)},
                  finals.state.options());
    at::Tensor passing;
    for (const ScanSegment& s : segments_->list()) {
      if (s.initial >= 0) initial.select(0, s.initial).copy_(passing);
      if (s.final < 0) continue;
      const at::Tensor own = finals.state.select(0, s.final);
      passing = s.initial < 0 ? own : own + finals.log_decay.select(0, s.final).exp().view({-1, 1, 1}) * passing;
    }
    return initial;
  }
  at::Tensor final_gradients(const SsdEnds& initials) override {
    at::Tensor final =
        at::zeros({segments_->finals(), initials.state.size(1), initials.state.size(2), initials.state.size(3)},
                  initials.state.options());
    at::Tensor passing;
    const auto& list = segments_->list();
    for (auto s = list.rbegin(); s != list.rend(); ++s) {
      if (s->final >= 0) final.select(0, s->final).copy_(passing);
      if (s->initial < 0) continue;
      const at::Tensor own = initials.state.select(0, s->initial);
      passing = s->final < 0 ? own : own + initials.log_decay.select(0, s->initial).exp().view({-1, 1, 1}) * passing;
    }
    return final;
  }

 private:
  std::shared_ptr<const ScanSegments> segments_;
};

// y and the gradients of the first seven inputs.
Tensors through_autograd(const Case& c, const std::shared_ptr<const ScanSegments>& segments,
                         const std::shared_ptr<SsdExchange>& exchange) {
  Tensors in;
  for (std::size_t i = 0; i < 7; ++i) in.push_back(c.inputs[i].detach().clone().requires_grad_());
  const at::Tensor y = ssd_scan(inputs_of(in), segments, c.options, exchange);
  y.backward(c.d_y);
  Tensors out = {y.detach()};
  for (const at::Tensor& t : in) out.push_back(t.grad());
  return out;
}

TEST(SsdScan, DocumentsMayBeCutAnywhere) {
  for (std::uint64_t key = 0; key < 100; ++key) {
    SCOPED_TRACE(key);
    std::mt19937 random(static_cast<unsigned>(key));
    Case c = random_case(7000 + 10 * key, 60);
    std::vector<ScanSegment> whole, cut;
    int lines = 0;
    for (std::int64_t sample = 0; sample < c.samples; ++sample) {
      for (std::int64_t begin = 0; begin < c.rows;) {
        const std::int64_t end = std::min(c.rows, begin + 1 + static_cast<std::int64_t>(random() % 30));
        whole.push_back({sample, begin, end});
        bool continues = false;
        while (begin < end) {
          const std::int64_t middle = std::min(end, begin + 1 + static_cast<std::int64_t>(random() % 15));
          cut.push_back({sample, begin, middle, continues ? lines - 1 : -1, middle < end ? lines++ : -1});
          continues = middle < end;
          begin = middle;
        }
      }
    }
    const auto pieces = std::make_shared<const ScanSegments>(c.rows, c.samples, cut);
    const Tensors expected =
        through_autograd(c, std::make_shared<const ScanSegments>(c.rows, c.samples, whole), nullptr);
    const Tensors got = through_autograd(c, pieces, std::make_shared<Chain>(pieces));
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_TENSOR_NEAR(got[i], expected[i], kSameSums) << i;
  }
}

TEST(SsdScan, ComparisonSeesFaults) {  // negative control: documents not told apart, initial states a little off
  Case c = random_case(12345, 40);
  for (std::uint64_t key = 12346; c.segments->initials() == 0 || c.segments->list().size() < 4; ++key) {
    c = random_case(key, 40);
  }
  const Results expected = plain(c);
  std::vector<ScanSegment> joined;
  for (std::int64_t sample = 0; sample < c.samples; ++sample) joined.push_back({sample, 0, c.rows});
  ASSERT_GT(c.segments->list().size(), joined.size());
  SsdStates none = ssd_states(inputs_of(c.inputs), ScanSegments(c.rows, c.samples, joined), c.options);
  EXPECT_FALSE(testing::tensor_near(
      ssd_outputs(inputs_of(c.inputs), ScanSegments(c.rows, c.samples, joined), c.options, std::move(none), {}),
      expected.y, kSameSums));
  SsdStates states = ssd_states(inputs_of(c.inputs), *c.segments, c.options);
  EXPECT_FALSE(testing::tensor_near(
      ssd_outputs(inputs_of(c.inputs), *c.segments, c.options, std::move(states), c.inputs[7] * (1 + 1e-6)), expected.y,
      kSameSums));
}

TEST(SsdScan, Bf16IsRoundedOnce) {
  const std::int64_t rows = 300;
  const auto segments = std::make_shared<const ScanSegments>(ScanSegments::whole(rows, 2));
  Tensors wide = {random_tensor({rows, 2, 4, 8}, 1),
                  random_tensor({rows, 2, 4}, 2),
                  random_tensor({rows, 2, 2, 16}, 3),
                  random_tensor({rows, 2, 2, 16}, 4),
                  at::full({4}, -0.5, at::kDouble),
                  random_tensor({4}, 5),
                  random_tensor({4}, 6)};
  Tensors narrow;
  for (at::Tensor& t : wide) {
    narrow.push_back(t.to(at::kBFloat16));
    t = narrow.back().to(at::kDouble);
  }
  const at::Tensor expected = ssd_scan(inputs_of(wide), segments, {}), got = ssd_scan(inputs_of(narrow), segments, {});
  EXPECT_EQ(got.scalar_type(), at::kBFloat16);
  const at::Tensor allowed = expected.abs() / 256 + 1e-4 * expected.abs().max();
  EXPECT_TRUE((got.to(at::kDouble) - expected).abs().le(allowed).all().item<bool>());
}

TEST(SsdScan, NoRows) {
  const auto segments = std::make_shared<const ScanSegments>(ScanSegments::whole(0, 2));
  Tensors in = {at::zeros({0, 2, 4, 8}), at::zeros({0, 2, 4}), at::zeros({0, 2, 2, 3}), at::zeros({0, 2, 2, 3}),
                at::zeros({4}),          at::zeros({4}),       at::zeros({4})};
  for (at::Tensor& t : in) t.requires_grad_();
  const at::Tensor y = ssd_scan(inputs_of(in), segments, {});
  EXPECT_EQ(y.sizes(), in[0].sizes());
  y.sum().backward();
  EXPECT_TENSOR_EQUAL(in[4].grad(), at::zeros({4}));
}

TEST(ScanSegments, RefusesGapsAndRepeatedLines) {
  EXPECT_ANY_THROW(ScanSegments(4, 1, {{0, 0, 3}}));
  EXPECT_ANY_THROW(ScanSegments(4, 1, {{0, 0, 3}, {0, 2, 4}}));
  EXPECT_ANY_THROW(ScanSegments(4, 1, {{0, 0, 2, 0}, {0, 2, 4, 0}}));
  EXPECT_ANY_THROW(ScanSegments(4, 1, {{0, 0, 2, 1}, {0, 2, 4}}));
}

at::Tensor plain_conv(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& halo,
                      const std::shared_ptr<const ScanSegments>& of) {
  const ScanSegments& segments = *of;
  const std::int64_t width = weight.size(-1);
  std::map<std::int64_t, at::Tensor> rows;
  for (const ScanSegment& s : segments.list()) {
    for (std::int64_t i = s.begin; i < s.end; ++i) {
      at::Tensor sum = bias;
      for (std::int64_t k = 0; k < width; ++k) {
        const std::int64_t from = i - (width - 1) + k;
        if (from < s.begin && s.initial < 0) continue;
        const at::Tensor row = from < s.begin ? halo.select(0, s.initial).select(0, width - 1 - (s.begin - from))
                                              : x.select(0, from).select(0, s.sample);
        sum = sum + row * weight.select(2, k).select(1, 0);
      }
      rows[i * segments.samples() + s.sample] = sum * sum.sigmoid();
    }
  }
  Tensors list;
  for (const auto& [row, y] : rows) list.push_back(y);
  return at::stack(list).view(x.sizes());
}

TEST(CausalConv, EqualsPlainLoops) {
  for (std::uint64_t key = 0; key < 100; ++key) {
    SCOPED_TRACE(key);
    std::mt19937 random(static_cast<unsigned>(key));
    const std::int64_t rows = 1 + static_cast<std::int64_t>(random() % 20),
                       samples = 1 + static_cast<std::int64_t>(random() % 2);
    const std::int64_t channels = 5, width = 1 + static_cast<std::int64_t>(random() % 4);
    const auto segments = random_segments(rows, samples, 1 + static_cast<int>(random() % 10), random);
    const Tensors in = {random_tensor({rows, samples, channels}, key), random_tensor({channels, 1, width}, key + 1000),
                        random_tensor({channels}, key + 2000),
                        random_tensor({segments->initials(), width - 1, channels}, key + 3000)};
    const auto run = [&](const auto& function) {
      Tensors leaves;
      for (const at::Tensor& t : in) leaves.push_back(t.clone().requires_grad_());
      const at::Tensor y = function(leaves[0], leaves[1], leaves[2], leaves[3], segments);
      Tensors out = torch::autograd::grad({y}, leaves, {random_tensor(y.sizes(), 77)}, std::nullopt, false, true);
      for (std::size_t i = 0; i < out.size(); ++i) {
        if (!out[i].defined()) out[i] = at::zeros_like(leaves[i]);
      }
      out.push_back(y.detach());
      return out;
    };
    const auto conv = [](const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& halo,
                         const auto& of_rows) { return causal_conv(x, weight, bias, halo, of_rows); };
    const Tensors got = run(conv), expected = run(plain_conv);
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_TENSOR_NEAR(got[i], expected[i], 1e-13) << i;
    if (rows > 1 && width > 1) {  // negative control: taps in the wrong order
      EXPECT_FALSE(
          testing::tensor_near(causal_conv(in[0], in[1].flip(2), in[2], in[3], segments), expected.back(), 1e-13));
    }
  }
}

}  // namespace
}  // namespace ringtron
