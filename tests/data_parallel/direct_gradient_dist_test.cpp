// Weight gradients that a linear layer adds to the sum itself equal those that go through autograd.
#include <ATen/ATen.h>

#include "ringtron/comm/local_communicator.h"
#include "ringtron/data_parallel/gradient_reducer.h"
#include "ringtron/tensor_parallel/linear.h"
#include "ringtron/tensor_parallel/weight_gradient_queue.h"
#include "tests/support/multi_rank.h"
#include "tests/support/random_tensor.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::random_tensor;

constexpr double kReorder = 1e-12;  // fp64, another order of summation
constexpr int kMicroBatches = 3;

// later: from a queue, after the backwards of all micro-batches.
enum class Way { autograd, direct, later };

// Two layers, the second with the first's weight where it is shared, as an output layer's with the embedding's.
struct Model {
  Parameter first, second;
  WeightGradientQueue queue;

  Model() {
    int seed = 1;
    for (Parameter* p : {&first, &second}) {
      p->name = "layer" + std::to_string(seed);
      p->shard.global_shape = {6, 6};
      p->value = random_tensor({6, 6}, seed++).set_requires_grad(true);
    }
  }

  at::Tensor forward(const at::Tensor& x, Way way, bool shared, Communicator& alone) {
    const auto weight = [&](Parameter& p, bool is_shared) {
      if (way == Way::later) return LinearWeight(p, &queue);
      return way == Way::autograd ? LinearWeight(p.value) : LinearWeight(p, is_shared);
    };
    // The share of a shared parameter's earlier use goes through autograd.
    const at::Tensor h =
        shared ? at::linear(x, first.value) : column_parallel_linear(x, weight(first, false), {}, alone, false);
    return column_parallel_linear(at::tanh(h), weight(shared ? first : second, shared), {}, alone, false);
  }
};

at::Tensor gradients(Communicator& replicas, Way way, bool shared, bool forgets = false) {
  LocalCommunicator alone("tensor-parallel", 0);
  Model model;
  const ParameterList list = shared ? ParameterList{&model.first} : ParameterList{&model.first, &model.second};
  GradientReducer reducer(list,
                          [&](AxisSet axes) -> Communicator& { return axes == kDataContextAxes ? replicas : alone; },
                          {.overlap = true, .bucket_size = 1});
  for (int step = 0; step < 2; ++step) {  // the second step must not see the first
    reducer.begin_step(kMicroBatches);
    for (int i = 0; i < kMicroBatches; ++i) {
      const at::Tensor x = random_tensor({4, 2, 6}, 10 + 10 * i + replicas.rank());
      model.forward(x, way, shared, alone).square().sum().backward();
      if (forgets && i == 1) model.queue = {};
    }
    EXPECT_EQ(model.queue.empty(), way != Way::later);
    model.queue.run();
    EXPECT_TRUE(model.queue.empty());
    reducer.finish();
  }
  at::Tensor all = model.first.gradient.reshape({-1});
  return (shared ? all : at::cat({all, model.second.gradient.reshape({-1})})).clone();
}

DIST_TEST(DirectGradient, EqualsAutograds, 1, 2) {
  for (const bool shared : {false, true}) {
    const at::Tensor expected = gradients(ranks.world(), Way::autograd, shared);
    EXPECT_TENSOR_NEAR(gradients(ranks.world(), Way::direct, shared), expected, kReorder);
    EXPECT_FALSE(testing::tensor_near(gradients(ranks.world(), Way::direct, shared) * 1.001, expected, kReorder));
  }
}

DIST_TEST(DirectGradient, MadeLaterEqualsAutograds, 1, 2) {
  const at::Tensor expected = gradients(ranks.world(), Way::autograd, false);
  EXPECT_TENSOR_NEAR(gradients(ranks.world(), Way::later, false), expected, kReorder);
  // Negative control: products that are left out.
  EXPECT_FALSE(testing::tensor_near(gradients(ranks.world(), Way::later, false, /*forgets=*/true), expected, kReorder));
}

}  // namespace
}  // namespace ringtron
