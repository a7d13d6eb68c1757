// The autograd collectives of tensor and sequence parallelism, between the regions of a network (Shoeybi et al.,
// arXiv:1909.08053, figure 3; Korthikanti et al., arXiv:2205.05198, figure 5, for sequence parallelism).
//
// Activations are sequence-first [s, b, h]; dim 0 is what sequence parallelism divides. In the
// tensor-parallel region each rank has all of the sequence and some of the channels; in the sequence region
// it has some of the sequence and all channels. Each function is the identity for a group of one. All ranks
// of `group` call them in the same order, forward and backward; `group` must outlive the graph.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"

namespace ringtron {

// forward identity, backward all-reduce
at::Tensor copy_to_tensor_region(const at::Tensor& x, Communicator& group);
// forward all-reduce, backward identity
at::Tensor reduce_from_tensor_region(const at::Tensor& x, Communicator& group);
// forward own slice of dim 0, backward all-gather
at::Tensor scatter_to_sequence_region(const at::Tensor& x, Communicator& group);
// forward all-gather along dim 0, backward reduce-scatter (what follows is tensor-parallel)
at::Tensor gather_from_sequence_region(const at::Tensor& x, Communicator& group);
// forward reduce-scatter along dim 0, backward all-gather
at::Tensor reduce_scatter_to_sequence_region(const at::Tensor& x, Communicator& group);

// The collectives themselves, without autograd, waited for; x is not changed (a group of one returns x
// itself). What divides rows among the ranks throws InternalError when their number is not a multiple of the
// group's size (check_rows_divide).
at::Tensor all_gather_rows(const at::Tensor& x, Communicator& group);
at::Tensor reduce_scatter_rows(const at::Tensor& x, Communicator& group);
void check_rows_divide(const at::Tensor& x, const Communicator& group);

}  // namespace ringtron
