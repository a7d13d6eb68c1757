// States of the scan along the chunks of a part, forward, or their gradients from the end. A block of threads has one
// head; the state stays in registers, and chunks come through shared memory while others are worked on.
#include <cuda_runtime.h>

#include "ringtron/kernels/device/launch.cuh"
#include "ringtron/kernels/ssd_scan/ssd_tile.cuh"

namespace ringtron {
namespace {

using namespace ssd;

constexpr int kThreads = 256, kStages = 3;
constexpr int kStepBytes = kSteps * kSsdChunk * 4;
constexpr int kStageBytes = SizeTile::kBytes + StateTile::kBytes + kStepBytes;

struct Stage {
  SizeTile rows;
  StateTile shared;
  float* steps;

  __device__ explicit Stage(int number) {
    unsigned char* const memory = dynamic_shared<unsigned char>() + number * kStageBytes;
    rows = {memory};
    shared = {memory + SizeTile::kBytes};
    steps = reinterpret_cast<float*>(memory + SizeTile::kBytes + StateTile::kBytes);
  }
};

// Warp w has 16 rows of the state (channels of the head) and 64 of its columns.
struct Place {
  int row, column;
  __device__ Place() : row(warp() % 4 * 16), column(warp() / 4 * 64) {}
};

using State = Fragment<8>;

__device__ std::int64_t chunk_of_step(const SsdWalkParams& p, const SsdPart& part, std::int64_t step) {
  return part.chunk + (p.reverse ? part.chunks - 1 - step : step);
}

// Begins to load what step `step` needs; nothing beyond the end.
__device__ void begin_load(const SsdWalkParams& p, const SsdPart& part, std::int64_t step, int head) {
  if (step < part.chunks) {
    const Stage stage(static_cast<int>(step % kStages));
    const std::int64_t number = chunk_of_step(p, part, step);
    const SsdChunk chunk = p.shape.chunks[number];
    const int group = head / (p.shape.heads / p.shape.groups);
    load_rows<kThreads>(stage.rows, p.rows, p.shape, chunk, head * p.shape.size, p.shape.size);
    load_rows<kThreads>(stage.shared, p.shared, p.shape, chunk, group * p.shape.states, p.shape.states);
    load_steps(stage.steps, p.steps, number, p.shape.heads, head);
  }
  end_copies();
}

// Each number of the state with its element of a dense [size, states].
template <class Use>
__device__ void for_elements(const SsdShape& shape, State& state, Use use) {
  const Place place;
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = place.row + row_of(half), column = place.column + 8 * n + column_of();
      if (row >= shape.size || column >= shape.states) continue;
      use(row * shape.states + column, state[n][2 * half], state[n][2 * half + 1]);
    }
  }
}

template <class T>
__device__ void store_chunk_state(const SsdWalkParams& p, std::int64_t chunk, int head, const State& state) {
  const Place place;
  T* const to = static_cast<T*>(p.chunk_states) + (chunk * p.shape.heads + head) * (kSsdMostSize * kSsdMostStates);
#pragma unroll
  for (int n = 0; n < 8; n += 4) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
      store_eights<T>(to + (place.row + row_of(half)) * kSsdMostStates, place.column + 8 * n, kSsdMostStates, &state[n],
                      half);
  }
}

// The left side of the product: channels by rows, each row times its factor.
template <class T, bool kReverse>
__device__ void load_left(Words& a, const Stage& stage, int row, int channel) {
  left_of_columns(a, stage.rows, row, channel);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int k = row + column_of() + i / 2 * 8;
    float low = stage.steps[(kReverse ? kStepE : kStepW) * kSsdChunk + k];
    float high = stage.steps[(kReverse ? kStepE : kStepW) * kSsdChunk + k + 1];
    if constexpr (!kReverse) {
      low *= stage.steps[kStepT * kSsdChunk + k];
      high *= stage.steps[kStepT * kSsdChunk + k + 1];
    }
    const float2 pair = unpacked<T>(a[i]);
    a[i] = packed<T>(pair.x * low, pair.y * high);
  }
}

// state = passes * state + sum over the rows of a chunk.
template <class T, bool kReverse>
__device__ void pass_chunk(State& state, const Stage& stage) {
  const Place place;
  const float passes = stage.steps[kStepE * kSsdChunk + kSsdChunk - 1];
#pragma unroll
  for (int n = 0; n < 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) state[n][e] *= passes;
  }
#pragma unroll
  for (int k = 0; k < kSsdChunk; k += 16) {
    Words a;
    load_left<T, kReverse>(a, stage, k, place.row);
#pragma unroll
    for (int n = 0; n < 8; n += 2) {
      Words b;
      right_of_columns(b, stage.shared, k, place.column + 8 * n);
      multiply_pair<T>(state[n], state[n + 1], a, b);
    }
  }
}

template <class T, bool kReverse>
__device__ void walk(const SsdWalkParams& p) {
  const int head = static_cast<int>(blockIdx.x) % p.shape.heads;
  const std::int64_t number = blockIdx.x / static_cast<unsigned>(p.shape.heads);
  const SsdPart part = p.parts[number];
  const std::int64_t line = number * p.shape.heads + head, elements = p.shape.size * p.shape.states;
  State state;
  clear<8>(state);
#pragma unroll
  for (int k = 0; k < kStages - 1; ++k) begin_load(p, part, k, head);
  float log2_decay = 0.0f;
  for (std::int64_t step = 0; step < part.chunks; ++step) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // also: all are done with the stage that is filled next
    begin_load(p, part, step + kStages - 1, head);
    const std::int64_t chunk = chunk_of_step(p, part, step);
    const Stage stage(static_cast<int>(step % kStages));
    store_chunk_state<T>(p, chunk, head, state);
    pass_chunk<T, kReverse>(state, stage);
    log2_decay += stage.steps[kStepL * kSsdChunk + kSsdChunk - 1];
    if (p.shape.chunks[chunk].starts != 0) log2_decay = -INFINITY;
  }
  if (p.leaving != nullptr) {
    float* const to = p.leaving + line * elements;
    for_elements(p.shape, state, [&](int at, float& x, float& y) { to[at] = x, to[at + 1] = y; });
  }
  if (p.log2_decay != nullptr && threadIdx.x == 0) p.log2_decay[line] = log2_decay;
}

template <class T, bool kReverse>
__global__ void __launch_bounds__(kThreads, 2) walk_kernel(const __grid_constant__ SsdWalkParams p) {
  walk<T, kReverse>(p);
}

template <class T>
__global__ void __launch_bounds__(kThreads, 2) both_walks_kernel(const __grid_constant__ SsdBothWalksParams p) {
  if (blockIdx.y == 0)
    walk<T, false>(p.states);
  else
    walk<T, true>(p.gradients);
}

template <class T>
void launch_of(const SsdBothWalksParams& p, void* stream) {
  launch(both_walks_kernel<T>, dim3(static_cast<unsigned>(p.states.part_count * p.states.shape.heads), 2),
         dim3(kThreads), kStages * kStageBytes, p, stream);
}

template <class T>
void launch_of(const SsdWalkParams& p, void* stream) {
  launch(p.reverse ? walk_kernel<T, true> : walk_kernel<T, false>,
         dim3(static_cast<unsigned>(p.part_count * p.shape.heads)), dim3(kThreads), kStages * kStageBytes, p, stream);
}

}  // namespace

void ssd_walk_cuda(const SsdWalkParams& p, void* stream) {
  if (p.shape.type == Element::f16)
    launch_of<__half>(p, stream);
  else
    launch_of<__nv_bfloat16>(p, stream);
}

void ssd_both_walks_cuda(const SsdBothWalksParams& p, void* stream) {
  if (p.states.shape.type == Element::f16)
    launch_of<__half>(p, stream);
  else
    launch_of<__nv_bfloat16>(p, stream);
}

}  // namespace ringtron
