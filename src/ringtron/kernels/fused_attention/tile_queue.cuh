// How tiles get into shared memory, a ring of stages, ahead of the warps that compute. On sm_90a warps of their own
// load them; each stage has a barrier that says filled and one that says free, and none holds all warps together, so
// that some compute while others wait for tensor cores. Elsewhere, where registers cannot go from one warp to
// another, all warps load and meet once a tile.
#pragma once

#include <cstdint>

#include "ringtron/kernels/fused_attention/attention_tile.cuh"

namespace ringtron::fused {

constexpr int bytes_of_barriers(int stages, bool own_loaders) { return own_loaders ? 2 * stages * 8 : 0; }

// kThreadsToLoad and kRegisters, of each thread that computes, are for sm_90a. begin(stage, i), of all methods here,
// begins to copy tile i and writes what else belongs to it; all threads that load call it. A tile is there from its
// wait() to its release(), which comes before the wait() for the tile that follows it by kStages - 1.
template <int kStages, int kThreadsToLoad, int kRegisters>
class TileQueue {
 public:
  static constexpr int kLoaders = kOwnLoaders ? kThreadsToLoad : 32 * kWarps,
                       kThreads = kOwnLoaders ? 32 * kWarps + kThreadsToLoad : 32 * kWarps;

  // Memory of bytes_of_barriers(), aligned to 8. All threads call it, before anything else of the queue.
  __device__ TileQueue(void* memory, int tiles)
      : barriers_(static_cast<std::uint32_t>(__cvta_generic_to_shared(memory))), tiles_(tiles) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    if (threadIdx.x == 0) {
      for (int i = 0; i < kStages; ++i) {
        asm volatile("mbarrier.init.shared.b64 [%0], %1;\n" ::"r"(filled(i)), "n"(kLoaders / 32) : "memory");
        asm volatile("mbarrier.init.shared.b64 [%0], %1;\n" ::"r"(free(i)), "n"(kWarps) : "memory");
      }
    }
    __syncthreads();
#endif
  }

  // Of the tile that was waited for last.
  __device__ int stage() const { return stage_; }

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  // What the warps that only load do. once() begins to copy what all tiles need, together with tile 0.
  template <class Once, class Begin>
  __device__ void load(Once once, Begin begin) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(kLoaderRegisters));
    once();
    for (int i = 0; i < tiles_; ++i) {
      advance();
      if (i >= kStages) wait_for(free(stage_), round_ ^ 1);
      begin(stage_, i);
      wait_for_copies();
      __syncwarp();
      if (lane() == 0) arrive(filled(stage_));
    }
  }

  // What the others do before the first wait().
  template <class Once, class Begin>
  __device__ void start(Once, Begin) {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
  }
  // Waits for the next tile.
  template <class Begin>
  __device__ void wait(Begin) {
    advance();
    wait_for(filled(stage_), round_);
  }
  // This warp has read all that it needs of a stage.
  __device__ void release(int stage) const {
    __syncwarp();
    if (lane() == 0) arrive(free(stage));
  }
#else
  template <class Once, class Begin>
  __device__ void load(Once, Begin) {}
  template <class Once, class Begin>
  __device__ void start(Once once, Begin begin) {
    once();
    if (tiles_ > 0) begin(0, 0);
  }
  template <class Begin>
  __device__ void wait(Begin begin) {
    advance();
    wait_for_copies();
    __syncthreads();
    if (++tile_ < tiles_) begin(tile_ % kStages, tile_);
  }
  __device__ void release(int) const {}
#endif

 private:
  // What a launch gives all threads, less what those have that compute.
  static constexpr int kLaunched = 65536 / kThreads / 8 * 8;
  static constexpr int kLoaderRegisters = (kLaunched * kThreads - kRegisters * 32 * kWarps) / kThreadsToLoad / 8 * 8;

  __device__ void advance() {
    if (++stage_ < kStages) return;
    stage_ = 0;
    round_ ^= 1;
  }

  __device__ std::uint32_t filled(int stage) const { return barriers_ + 8 * stage; }
  __device__ std::uint32_t free(int stage) const { return barriers_ + 8 * (kStages + stage); }

  __device__ static void arrive(std::uint32_t barrier) {
    asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }\n" ::"r"(barrier) : "memory");
  }
  // For the barrier's rounds of this parity, 0 or 1, to be over.
  __device__ static void wait_for(std::uint32_t barrier, std::uint32_t parity) {
    std::uint32_t done = 0;
    while (done == 0) {  // sleeps for some microseconds at most
      asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }\n"
                   : "=r"(done)
                   : "r"(barrier), "r"(parity)
                   : "memory");
    }
  }

  std::uint32_t barriers_;
  int tiles_, tile_ = 0, stage_ = -1;
  std::uint32_t round_ = 0;
};

}  // namespace ringtron::fused
