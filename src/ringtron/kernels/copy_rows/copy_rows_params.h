// What the host tells the kernel that copies rows.
#pragma once

#include <cstdint>

namespace ringtron {

// Lengths and strides in units of 16 bytes.
struct RowCopyJob {
  const void* from;
  void* to;
  std::int64_t rows, samples, chunk;  // chunk: contiguous in both
  std::int64_t from_row, from_sample, to_row, to_sample;
};

struct CopyRowsParams {
  static constexpr int kMost = 24;
  RowCopyJob jobs[kMost];
  int count;
};

void copy_rows_cuda(const CopyRowsParams& params, void* stream);

}  // namespace ringtron
