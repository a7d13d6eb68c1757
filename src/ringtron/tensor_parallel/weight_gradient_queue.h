// Weight gradients that a backward leaves for later: what a zero-bubble pipeline runs where it would wait.
//
// A forward that is given a queue (ForwardPass, StepContext, LinearWeight) lets the backward of its linear layers put
// their products here, with what they need: the gradient of the output, and the input or the function that computes it
// again. One queue for each forward, owned by who runs forward and backward.
#pragma once

#include <functional>
#include <vector>

namespace ringtron {

class WeightGradientQueue {
 public:
  // Called in the backward, on whichever thread runs it.
  void push(std::function<void()> product) { products_.push_back(std::move(product)); }

  // All products, in the order of the backward, outside the graph, on the current stream, which must be the backward's;
  // each tells the reducer of gradients, and what it kept is freed. After the backward. Collective over the tensor
  // group with sequence parallelism, so in one order on its ranks. CommError, also from a reduction that begins.
  void run();

  bool empty() const { return products_.empty(); }

 private:
  std::vector<std::function<void()>> products_;
};

}  // namespace ringtron
