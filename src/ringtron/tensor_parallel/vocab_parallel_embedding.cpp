#include "ringtron/tensor_parallel/vocab_parallel_embedding.h"

#include <ATen/ATen.h>

#include "ringtron/kernels/embedding/embedding.h"
#include "ringtron/tensor_parallel/mappings.h"

namespace ringtron {

at::Tensor vocab_parallel_embedding(const at::Tensor& tokens, const at::Tensor& weight, Communicator& group,
                                    bool to_sequence_region) {
  const at::Tensor ids = tokens.t().contiguous();
  if (group.size() == 1) return embedding_lookup(weight, ids);
  const std::int64_t first = weight.size(0) * group.rank();
  const at::Tensor foreign = at::logical_or(ids < first, ids >= first + weight.size(0));
  const at::Tensor local = (ids - first).masked_fill(foreign, 0);
  const at::Tensor partial = embedding_lookup(weight, local).masked_fill(foreign.unsqueeze(-1), 0);
  return to_sequence_region ? reduce_scatter_to_sequence_region(partial, group)
                            : reduce_from_tensor_region(partial, group);
}

}  // namespace ringtron
