// Sums gradients over micro-batches and over the ranks along each parameter's gradient_axes, while backward still runs.
//
//   reducer.begin_step(micro_batches);
//   for each micro-batch { forward; backward; }   // in any order: a pipeline has several under way
//   reducer.finish();                 // Parameter::gradient now holds the sum over the whole global batch
//
// A pure sum, nowhere divided: the loss is a sum over tokens, and the optimizer's gradient scale makes it a
// mean. As backward finishes a parameter, its gradient is added to the fp32 (fp64) buffer and autograd's own
// is freed. A parameter is done when it has one gradient of every micro-batch; a bucket whose parameters are all done
// is reduced at once, if `overlap` is on. Buckets go out in the order of the plan on every rank: one that is ready
// early waits for those before it. The result is the same bits in every run; with more than two ranks it may depend in
// the last bits on the bucket size. Buckets are summed over the data and context axes; what further axes a parameter
// has, such as the tensor axis, finish() sums over. All ranks of these groups take part in every step. CommError
// comes out of backward, finish(), gather_values() or an await; the reducer, like its communicators, is of no use after
// it. While backward runs, the group of the buckets belongs to the reducer and to the operations of backward itself.
//
// Between GPUs of one machine messages are copies by their copy engines (comm/exchange_collectives.h), which leave the
// multiprocessors to backward.
//
// With `bf16_messages` each rank's sum of a bucket is rounded to bf16, these are summed by the back end (which may
// round again), and the result is back in the fp32 buffer: half the bytes sent, by 2^-8 of exactness. Further axes are
// summed in fp32 all the same. Every rank gets the same bits.
//
// With `sharded` a bucket is reduce-scattered: each rank gets the sums of the range that it owns, and
// Parameter::gradient is of no use outside it. Values then lie in a flat buffer of the same plan. After the owners have
// changed their ranges of the values, gather_values() brings them to all ranks; with `overlap_gather` it only begins,
// and whoever reads a value awaits it first (await_values() in parameter/parameter.h).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/data_parallel/grad_buffer.h"
#include "ringtron/parameter/bucket_plan.h"
#include "ringtron/parameter/parameter.h"

namespace ringtron {

// The group of this rank along a set of axes, as ParallelState::group() gives it.
using GroupOfAxes = std::function<Communicator&(AxisSet axes)>;

class GradientReducer {
 public:
  // Hooks itself into every parameter, of which each requires a gradient; a parameter can have one reducer
  // only. `parameters` and the communicators outlive it. Asks for the groups here, in one order on all ranks, and sets
  // options.group_size; with options.sharded it moves the parameters' values. InternalError if the parameters'
  // gradient_axes differ in data and context, which wants a buffer each.
  GradientReducer(const ParameterList& parameters, const GroupOfAxes& group_of, BucketOptions options);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  // Forgets the sums of the step before. A parameter gets at most one gradient in each micro-batch.
  void begin_step(int micro_batches);

  // Requires the last micro-batch's backward to be over. InternalError naming each parameter that got no
  // gradient in any micro-batch.
  void finish();

  // The range of each bucket whose sums this rank has after finish(): with `sharded` its shard, else all.
  std::vector<ElementRange> owned() const;

  // Collective over the group of the buckets. Does nothing unless sharded. With options.overlap_gather it returns at
  // once: one bucket after the other is on its way, those first that the forward needs first. All of them are here at
  // the latest when finish() of the next step returns, so that owners may write again.
  void gather_values();

  const GradBuffer& buffer() const;

 private:
  struct State;
  class Hook;
  std::unique_ptr<State> state_;
};

}  // namespace ringtron
