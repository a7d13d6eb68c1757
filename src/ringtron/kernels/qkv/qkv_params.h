// What the host tells the kernel that takes q, k and v out of their projection, normalises and turns q and k.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

// qkv: [rows, groups, queries + 2, size]: of each group its query heads, then its key and its value.
// q: [rows, groups * queries, size]; k, v: [rows, groups, size]. All contiguous, from multiples of 16 bytes.
struct QkvParams {
  const void *qkv_in, *q_in, *k_in, *v_in;  // of these the ones that are read
  void *qkv, *q, *k, *v;                    // and those that are written
  const float *cos, *sin;                   // [rows / batch, batch or 1, turned]; null: nothing is turned
  std::int64_t rows;
  std::int64_t batch;         // rows that share a position in a table without samples
  bool table_of_samples;      // the table has a line for each row
  int groups, queries, size;  // size: a multiple of 16
  int turned;                 // a multiple of 16, the first channels of a head
  bool interleaved;
  Element type;
  // RMSNorm of each query and key head before it is turned; null: none. Wants a power of 2 of 16 to 512 as size, and in
  // the backward qkv_in too.
  const void *q_weight, *k_weight;  // [size]
  float epsilon;
  bool zero_centred;
  // Written by the backward: shares of the weights' gradients, each [parts, size].
  float *q_weight_parts, *k_weight_parts;
  int parts;

  bool normalises() const { return q_weight != nullptr; }
};

void split_qkv_cuda(const QkvParams& params, void* stream);  // qkv_in to q, k, v
void join_qkv_cuda(const QkvParams& params, void* stream);   // q_in, k_in, v_in turned back, to qkv

}  // namespace ringtron
