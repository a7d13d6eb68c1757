// Summed gradients of several replicas equal those of one process that sees every sample.
#include "ringtron/data_parallel/gradient_reducer.h"

#include <ATen/ATen.h>

#include <string>
#include <utility>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/comm/local_communicator.h"
#include "tests/support/late_works.h"
#include "tests/support/multi_rank.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

constexpr double kReorder = 1e-12;  // fp64, another order of summation
constexpr int kSamples = 8;

// Three linear layers; the first weight is used twice, as a tied embedding is.
struct Model {
  Parameter first, second, third;
  explicit Model(at::ScalarType type = at::kDouble) {
    int k = 1;
    for (Parameter* p : list()) {
      p->name = "layer" + std::to_string(k);
      p->shard.global_shape = {12, 12};
      p->value = (at::arange(144, at::kDouble) * k++).sin().view({12, 12}).to(type);
      p->value.set_requires_grad(true);
    }
  }
  ParameterList list() { return {&first, &second, &third}; }

  void backward(int sample) { loss(sample).backward(); }
  at::Tensor loss(int sample) {
    const at::Tensor x = (at::arange(12, at::kDouble) + 12 * sample).cos().to(first.value.scalar_type());
    const at::Tensor h = at::mv(first.value, at::tanh(at::mv(second.value, at::tanh(at::mv(first.value, x)))));
    return at::mv(third.value, at::tanh(h)).square().sum();
  }

  at::Tensor gradients() {
    return at::cat({first.gradient.view(-1), second.gradient.view(-1), third.gradient.view(-1)}).clone();
  }
};

GroupOfAxes groups(Communicator& replicas, Communicator& further) {
  return [&](AxisSet axes) -> Communicator& { return axes == kDataContextAxes ? replicas : further; };
}

// Samples rank, rank + replicas, ...: one a micro-batch.
at::Tensor reduced(Communicator& replicas, BucketOptions options, int shift = 0, at::ScalarType type = at::kDouble) {
  LocalCommunicator alone("tensor-parallel", 0);
  Model model(type);
  GradientReducer reducer(model.list(), groups(replicas, alone), options);
  for (int step = 0; step < 2; ++step) {  // the second step must not see the first
    reducer.begin_step(kSamples / replicas.size());
    for (int sample = replicas.rank(); sample < kSamples; sample += replicas.size()) {
      model.backward(sample + shift);
      EXPECT_FALSE(model.first.value.grad().defined());
    }
    reducer.finish();
  }
  return model.gradients();
}

at::Tensor one_process() {
  Model model;
  for (int sample = 0; sample < kSamples; ++sample) model.backward(sample);
  for (Parameter* p : model.list()) p->gradient = p->value.grad();
  return model.gradients();
}

const BucketOptions kTogether{.overlap = false, .bucket_size = 0, .group_size = 1};
const BucketOptions kOverlapped{.overlap = true, .bucket_size = 1, .group_size = 1};  // a bucket for each parameter

DIST_TEST(GradientReducer, MatchesOneProcess, 1, 2, 4) {
  const at::Tensor expected = one_process();
  EXPECT_TENSOR_NEAR(reduced(ranks.world(), kTogether), expected, kReorder);
  EXPECT_TENSOR_NEAR(reduced(ranks.world(), kOverlapped), expected, kReorder);
}

// Two parameters whose gradients tensor ranks share, each its own sum; the first is of each rank alone.
DIST_TEST(GradientReducer, EachParameterHasItsOwnFurtherSum, 2) {
  LocalCommunicator alone("data-context", 0);
  Model model, plain;
  for (Parameter* p : {&model.second, &model.third}) p->gradient_axes = kDataContextAxes | Axis::tensor;
  GradientReducer reducer(model.list(), groups(alone, ranks.world()), kTogether);
  reducer.begin_step(1);
  model.backward(ranks.rank());
  reducer.finish();
  plain.backward(ranks.rank());
  EXPECT_TENSOR_NEAR(model.first.gradient, plain.first.value.grad(), kReorder);
  for (const auto& [got, own] : {std::pair{&model.second, &plain.second}, std::pair{&model.third, &plain.third}}) {
    const at::Tensor sum = own->value.grad().clone();
    ranks.world().all_reduce(sum).wait();
    EXPECT_TENSOR_NEAR(got->gradient, sum, kReorder) << got->name;
  }
}

// Nothing is summed before it is waited for.
DIST_TEST(GradientReducer, WaitsForTheSums, 2, 4) {
  testing::LateWorks replicas(ranks.world());
  EXPECT_TENSOR_NEAR(reduced(replicas, kOverlapped), one_process(), kReorder);
}

// Each rank has the sums of what it owns, and after gather_values() what the owners have written.
DIST_TEST(GradientReducer, ShardsHaveTheSumsAndValuesComeBack, 1, 2, 3, 4) {
  Communicator& replicas = ranks.world();
  LocalCommunicator alone("tensor-parallel", 0);
  Model one;
  for (int sample = 0; sample < 12; ++sample) one.backward(sample);
  for (BucketOptions options : {kTogether, kOverlapped}) {
    options.sharded = true;
    Model model;
    const std::vector<at::Tensor> before = {model.first.value.detach().clone(), model.second.value.detach().clone(),
                                            model.third.value.detach().clone()};
    GradientReducer reducer(model.list(), groups(replicas, alone), options);
    reducer.begin_step(12 / replicas.size());
    for (int sample = replicas.rank(); sample < 12; sample += replicas.size()) model.backward(sample);
    reducer.finish();
    const std::vector<std::int64_t> sizes(3, 144);
    std::int64_t owned = 0;
    const ParameterList parameters = model.list(), expected = one.list();
    const at::NoGradGuard no_grad;
    for (const OwnedPart& part : owned_parts(reducer.buffer().plan(), sizes, reducer.owned())) {
      const auto elements = [&](const at::Tensor& x) {
        return x.view(-1).narrow(0, part.elements.begin, part.elements.size());
      };
      Parameter& parameter = *parameters[static_cast<std::size_t>(part.parameter)];
      const at::Tensor& sum = expected[static_cast<std::size_t>(part.parameter)]->value.grad();
      EXPECT_TENSOR_NEAR(elements(parameter.gradient), elements(sum), kReorder);
      elements(parameter.value.detach()).add_(replicas.rank() + 1);  // an owner's step
      owned += part.elements.size();
    }
    reducer.gather_values();
    at::Tensor counts = at::full({1}, owned, at::kLong), sum = at::zeros({}, at::kDouble);
    replicas.all_reduce(counts).wait();
    EXPECT_EQ(counts.item<std::int64_t>(), 3 * 144);
    for (std::size_t i = 0; i < 3; ++i) {
      const at::Tensor change = parameters[i]->value.detach() - before[i];
      EXPECT_TRUE(change.gt(0.5).all().item<bool>()) << "nobody has sent a part of " << parameters[i]->name;
      sum += change.sum();
    }
    double wanted = 0.0;  // each owner's part, by its own number
    at::Tensor by_owner = at::zeros({replicas.size()}, at::kDouble);
    by_owner[replicas.rank()] = static_cast<double>(owned);
    replicas.all_reduce(by_owner).wait();
    for (int r = 0; r < replicas.size(); ++r) wanted += by_owner[r].item<double>() * (r + 1);
    EXPECT_NEAR(sum.item<double>(), wanted, 1e-9);
    EXPECT_TRUE(parameters[0]->value.requires_grad() && parameters[0]->value.is_leaf());
  }
}

// Each value is there when it has been awaited, not before where gathers are late, and all are when the next step's
// reduction is over.
DIST_TEST(GradientReducer, ValuesComeWhenTheyAreAwaited, 2, 3) {
  testing::LateWorks replicas(ranks.world());
  LocalCommunicator alone("tensor-parallel", 0);
  BucketOptions options = kOverlapped;
  options.sharded = options.overlap_gather = true;
  Model model;
  const ParameterList parameters = model.list();
  GradientReducer reducer(parameters, groups(replicas, alone), options);
  const std::vector<std::int64_t> sizes(3, 144);
  const auto step = [&] {  // owners write 1, 2, ...
    const at::NoGradGuard no_grad;
    for (const OwnedPart& part : owned_parts(reducer.buffer().plan(), sizes, reducer.owned())) {
      at::Tensor flat = parameters[static_cast<std::size_t>(part.parameter)]->value.detach().view(-1);
      flat.narrow(0, part.elements.begin, part.elements.size()).fill_(replicas.rank() + 1);
    }
    reducer.gather_values();
  };
  const auto is_here = [&](const Parameter& parameter) {  // of all owners
    const at::Tensor value = parameter.value.detach();
    return value.ge(1.0).all().item<bool>() && value.eq(1.0).any().item<bool>() && value.eq(2.0).any().item<bool>();
  };
  step();
  EXPECT_FALSE(is_here(model.first));
  await_values({&model.first, &model.second});
  EXPECT_TRUE(is_here(model.first) && is_here(model.second));
  EXPECT_FALSE(is_here(model.third));
  reducer.begin_step(/*micro_batches=*/1);
  model.backward(0);
  reducer.finish();
  EXPECT_TRUE(is_here(model.third));
}

DIST_TEST(GradientReducer, NegativeControlOtherSamples, 2) {
  const at::Tensor other = reduced(ranks.world(), kOverlapped, /*shift=*/ranks.rank());
  EXPECT_FALSE(testing::tensor_near(other, one_process(), kReorder));
}

// Rounded once on its way and once in the sum, the same on all ranks; of one rank nothing is sent, and nothing rounded.
DIST_TEST(GradientReducer, Bf16MessagesAreRoundedSums, 1, 2, 4) {
  const at::Tensor exact = reduced(ranks.world(), kOverlapped, 0, at::kFloat);
  for (BucketOptions options : {kTogether, kOverlapped}) {
    options.bf16_messages = true;
    const at::Tensor got = reduced(ranks.world(), options, 0, at::kFloat);
    const double largest = exact.abs().max().item<double>();
    const double difference = (got - exact).abs().max().item<double>();
    EXPECT_LE(difference, 0x1p-7 * ranks.size() * largest);
    EXPECT_EQ(difference == 0.0, ranks.size() == 1) << "messages are in bf16";
    EXPECT_EQ(at::equal(got, got.to(at::kBFloat16).to(at::kFloat)), ranks.size() > 1);
    at::Tensor most = got.clone(), least = got.clone();
    ranks.world().all_reduce(most, ReduceOp::max).wait();
    ranks.world().all_reduce(least, ReduceOp::min).wait();
    EXPECT_TENSOR_EQUAL(most, least);
  }
}

// Two summands commute, so that the cut into buckets cannot matter.
DIST_TEST(GradientReducer, OverlapChangesNoBit, 1, 2) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16})
    EXPECT_TENSOR_EQUAL(reduced(ranks.world(), kOverlapped, 0, type), reduced(ranks.world(), kTogether, 0, type));
}

// The same buckets, in flight during backward or after it.
DIST_TEST(GradientReducer, OneBucketOverlappedChangesNoBit, 4) {
  const BucketOptions one{.overlap = true, .bucket_size = 1 << 20, .group_size = 1};
  EXPECT_TENSOR_EQUAL(reduced(ranks.world(), one), reduced(ranks.world(), kTogether));
  EXPECT_TENSOR_EQUAL(reduced(ranks.world(), kOverlapped), reduced(ranks.world(), kOverlapped));
}

DIST_TEST(GradientReducer, SumsOverFurtherAxes, 2) {
  LocalCommunicator alone("data-parallel", 0);
  Model model;
  model.second.gradient_axes = kDataContextAxes | Axis::tensor;
  GradientReducer reducer(model.list(), groups(alone, ranks.world()), kTogether);
  reducer.begin_step(/*micro_batches=*/1);
  model.backward(ranks.rank());
  reducer.finish();
  Model mine, both;
  mine.backward(ranks.rank());
  both.backward(0);
  both.backward(1);
  EXPECT_TENSOR_NEAR(model.second.gradient, both.second.value.grad(), kReorder);
  EXPECT_TENSOR_EQUAL(model.first.gradient, mine.first.value.grad());
}

// Two sets of axes, asked for in the order of their index whatever the order of the parameters.
DIST_TEST(GradientReducer, AsksForEachGroupOnceInOneOrder, 1) {
  LocalCommunicator alone("alone", 0);
  Model model;
  model.first.gradient_axes = kDataContextAxes | Axis::pipeline;
  model.second.gradient_axes = model.third.gradient_axes = kDataContextAxes | Axis::tensor;
  std::vector<std::string> asked;
  const GroupOfAxes group_of = [&](AxisSet axes) -> Communicator& {
    asked.push_back(to_string(axes));
    return alone;
  };
  {
    const GradientReducer reducer(model.list(), group_of, kTogether);
  }
  EXPECT_EQ(asked, (std::vector<std::string>{"cp-dp", "tp", "pp"}));
  model.third.gradient_axes = Axis::data;
  EXPECT_THROW(GradientReducer(model.list(), group_of, kTogether), InternalError);
}

// As a pipeline does: two micro-batches have gone forward before the first goes backward, and the last to begin is the
// first to end.
DIST_TEST(GradientReducer, MicroBatchesEndInAnyOrder, 2) {
  LocalCommunicator alone("tensor-parallel", 0);
  Model model;
  GradientReducer reducer(model.list(), groups(ranks.world(), alone), kOverlapped);
  reducer.begin_step(/*micro_batches=*/kSamples / 2);
  std::vector<at::Tensor> losses;
  for (int sample = ranks.rank(); sample < kSamples; sample += 2) losses.push_back(model.loss(sample));
  for (; !losses.empty(); losses.pop_back()) losses.back().backward();
  reducer.finish();
  EXPECT_TENSOR_NEAR(model.gradients(), one_process(), kReorder);
}

DIST_TEST(GradientReducer, RefusesMoreGradientsThanMicroBatches, 1) {
  LocalCommunicator alone("alone", 0);
  Model model;
  GradientReducer reducer(model.list(), groups(alone, alone), kTogether);
  EXPECT_THROW(model.backward(0), InternalError) << "before begin_step()";
  reducer.begin_step(/*micro_batches=*/1);
  model.backward(0);
  EXPECT_THROW(model.backward(1), InternalError);
}

DIST_TEST(GradientReducer, NamesTheParameterWithoutGradient, 2) {
  LocalCommunicator alone("tensor-parallel", 0);
  Model model;
  GradientReducer reducer(model.list(), groups(ranks.world(), alone), kOverlapped);
  reducer.begin_step(/*micro_batches=*/1);
  (at::mv(model.second.value, model.third.value[0])).sum().backward();
  try {
    reducer.finish();
    ADD_FAILURE() << "expected InternalError";
  } catch (const InternalError& error) {
    EXPECT_NE(std::string(error.what()).find("layer1"), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("layer2"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace ringtron
