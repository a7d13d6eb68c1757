// Matrix products that hide the communication of sequence parallelism (collective matmul: Wang et al., ASPLOS 2023).
//
// The rows of a product do not depend on each other, so it is taken in pieces of rows: rows of other ranks are
// multiplied when they are there, and sums for other ranks leave while the next piece is multiplied. Messages are
// Communicator::exchange(), between GPUs of one machine copies by copy engines, which take no multiprocessor from the
// products. With one rank both are plain products.
//
// Rows: dim 0 of x [s, ...], the same number on each rank; n: ranks of the group. All ranks of the group call in the
// same order with the same shapes and types. Both return when everything is given to the current stream, which has
// waited for all messages; on a CPU when it is done. A failed exchange throws CommError.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "ringtron/comm/communicator.h"

namespace ringtron {

// Rows of all ranks in the group's order, as they come.
class RowGather {
 public:
  // Starts to gather. own: [s/n, ...], contiguous; kept until the last row has come.
  RowGather(const at::Tensor& own, Communicator& group);

  at::Tensor rows_of(int rank);  // [s/n, ...]; waits for them
  at::Tensor whole();            // [s, ...]; waits for all
  Communicator& group() const { return group_; }

 private:
  Communicator& group_;
  at::Tensor own_, all_;      // the own rows are not in `all_`, before whole() puts them there
  std::vector<Work> coming_;  // by distance of the sender behind this rank; the first is the rank itself
};

// Calls `use` for the rows of each rank, this one's first and the others' as they come, with the same rows of `whole`
// [s, ...].
void for_rows_as_they_come(RowGather& rows, const at::Tensor& whole,
                           const std::function<void(const at::Tensor& rows, const at::Tensor& of_whole)>& use);

// All rows times `weight` [in, out], plus bias [out] where it is defined: [s, ..., out]. The own rows first.
at::Tensor all_gather_matmul(RowGather& rows, const at::Tensor& weight, const at::Tensor& bias);

// The own rows of the sum over all ranks of x [s, ..., in] times `weight` [in, out]: [s/n, ..., out]. Sums travel along
// a ring, in the type of x; each rank adds its share in the product itself. InternalError if n does not divide s.
at::Tensor matmul_reduce_scatter(const at::Tensor& x, const at::Tensor& weight, Communicator& group);

}  // namespace ringtron
