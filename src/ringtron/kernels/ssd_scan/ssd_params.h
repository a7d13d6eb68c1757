// What the host tells the kernels of the state-space scan. Formulas: ssd_scan.h, ssd_composed.cpp.
//
// Rows are taken in chunks of 64 of one sample, in which documents may begin anywhere. Chunks that follow each other
// are a part, along which one block of threads walks with the state of a head; parts that follow each other, a run:
// from where a state is given to where one is wanted.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

constexpr int kSsdChunk = 64;                           // rows
constexpr int kSsdMostSize = 64, kSsdMostStates = 128;  // what tiles have room for

struct SsdChunk {
  std::int64_t row;      // of its first row among [rows * samples]; the next is `samples` later
  std::uint64_t starts;  // bit i: a document begins with row i
  std::int64_t rows;     // at most kSsdChunk
};

struct SsdPart {
  std::int64_t chunk, chunks;  // the first, and how many
};

struct SsdRun {
  std::int64_t part, parts;     // the first, and how many
  std::int64_t initial, final;  // lines, -1: none
};

// [rows * samples, heads or groups, size or states]: a row every row_stride elements, dense within, from addresses that
// are multiples of 16 bytes; row_stride a multiple of 8.
struct SsdRows {
  const void* data;
  std::int64_t row_stride;
};

// Of what is known of each row before products, in places of 64 each: t; l, the sum of t a log2(e) from the chunk's
// beginning; e = 2^l where the chunk's entering state is seen, else 0; w = 2^(l_last - l) where the leaving state sees
// the row, else 0. Rows that are not there: t and w are 0, l and e as of the last row. e of the last place is what is
// left of the entering state.
enum SsdStep { kStepT, kStepL, kStepE, kStepW, kSteps };

struct SsdShape {
  const SsdChunk* chunks;  // [count]
  std::int64_t count, samples;
  int heads, groups, size, states;  // size and states are multiples of 8
  Element type;                     // f16 or bf16
};

struct SsdSteps {
  const void* dt;  // [rows * samples, heads], a row every dt_stride elements
  std::int64_t dt_stride;
  const float *a, *bias;  // [heads]
  float least, most;      // limits of t
};

struct SsdStepsParams {
  SsdShape shape;
  SsdSteps steps;
  float* out;  // [chunks, heads, kSteps, kSsdChunk]
};

// Each part from zero. States are fp32 [parts, heads, size, states]; those of chunks [chunks, heads, kSsdMostSize,
// kSsdMostStates] in the type of the rows. Reversed: from the last chunk to the first, of gradients: rows are dy,
// shared C.
struct SsdWalkParams {
  SsdShape shape;
  const SsdPart* parts;
  std::int64_t part_count;
  const float* steps;
  SsdRows rows, shared;  // x and B
  float* leaving;        // null: not wanted
  float* log2_decay;     // [parts, heads], of what enters a part, -inf where it does not leave it; null: not wanted
  void* chunk_states;    // what enters each chunk
  bool reverse;
};

// Of the same parts, beside each other: a walk alone has one block for each multiprocessor at most, and waits for
// memory.
struct SsdBothWalksParams {
  SsdWalkParams states, gradients;  // the latter reversed
};

struct SsdJoinParams {
  const SsdRun* runs;
  std::int64_t run_count, elements;  // size * states
  int heads;
  const float *ends, *log2_decay;  // of parts from zero; null only where all runs have one part and none a final line
  const float* given;              // [lines, heads, size, states]: what enters runs, at their initial lines; null: zero
  float* entering;                 // what enters parts; null: not wanted
  float *wanted, *log_decay;       // what leaves runs, at their final lines, and their natural log decays; null: not
  bool reverse;                    // initial and final change places
};

// Adds what enters parts to the states of their chunks, as far as it is still there.
struct SsdEnterParams {
  SsdShape shape;
  const SsdPart* parts;
  std::int64_t part_count, most_chunks;  // of a part
  const float* steps;
  const float* entering;  // [parts, heads, size, states]
  void* chunk_states;
  bool reverse;
};

// The heads of a group are divided over `splits` blocks.
struct SsdOutputParams {
  SsdShape shape;
  const float* steps;
  SsdRows x, B, C;
  const void* states;
  const float* d;  // [heads]
  void* y;         // [rows * samples, heads, size]
  int splits;
};

struct SsdGradientParams {
  SsdShape shape;
  SsdSteps of_steps;
  const float* steps;
  SsdRows x, B, C, dy;
  const void *states, *gradients;  // what enters each chunk, and the gradient of what leaves it
  const float* d;
  void *dx, *d_dt;  // a row every dx_stride, dt_stride elements
  void *dB, *dC;    // a row every dB_stride, dC_stride, or with splits fp32 [splits, rows * samples, groups, states]
  std::int64_t dx_stride, d_dt_stride, dB_stride, dC_stride;
  float* sums;            // [chunks, heads, 3]: shares of the gradients of a, d and dt_bias
  std::int64_t all_rows;  // rows * samples
  int splits;
};

void ssd_steps_cuda(const SsdStepsParams& params, void* stream);
void ssd_walk_cuda(const SsdWalkParams& params, void* stream);
void ssd_both_walks_cuda(const SsdBothWalksParams& params, void* stream);
void ssd_enter_cuda(const SsdEnterParams& params, void* stream);
void ssd_join_cuda(const SsdJoinParams& params, void* stream);
void ssd_output_cuda(const SsdOutputParams& params, void* stream);
void ssd_gradient_cuda(const SsdGradientParams& params, void* stream);

}  // namespace ringtron
