// The fibers of tests/kernels/on_host/cuda_runtime.h.
#include <setjmp.h>
#include <ucontext.h>

#include <stdexcept>
#include <vector>

#include "tests/kernels/on_host/cuda_runtime.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace ringtron::on_host {
namespace {

constexpr std::size_t kStack = 256 * 1024, kMostLaneBytes = 64, kLanes = 32;

struct Copy {
  void* to;
  const void* from;
  std::size_t group;
};

struct Fiber {
  jmp_buf at;
  dim3 index;
  bool begun = false, done = false;
  std::vector<unsigned char> stack;
  std::vector<Copy> copies;  // not made yet
  std::size_t groups = 0;    // of copies that have ended
};

// What lanes exchange: two rounds, since a lane may be in the next one while another still reads this one.
struct Warp {
  std::size_t arrived = 0, round = 0;
  unsigned char slots[2][kLanes * kMostLaneBytes];
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::size_t current = 0, arrived = 0, round = 0, number = 0;
  jmp_buf scheduler;
  ucontext_t home;
  std::vector<uint4> shared;
  const std::function<void()>* body = nullptr;
} block;

void make_copy(const Copy& copy) {
  if (copy.from == nullptr)
    std::memset(copy.to, 0, 16);
  else
    std::memcpy(copy.to, copy.from, 16);
}

void begin_fiber() {
  (*block.body)();
  block.fibers[block.current].done = true;
  _longjmp(block.scheduler, 1);
}

// To the scheduler, which comes back.
void give_turn() {
  if (_setjmp(block.fibers[block.current].at) == 0) _longjmp(block.scheduler, 1);
}

void resume(std::size_t number) {
  Fiber& fiber = block.fibers[number];
  block.current = number;
  threadIdx = fiber.index;
  if (_setjmp(block.scheduler) != 0) return;
  if (fiber.begun) _longjmp(fiber.at, 1);
  fiber.begun = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = fiber.stack.data();
  context.uc_stack.ss_size = fiber.stack.size();
  context.uc_link = nullptr;
  makecontext(&context, begin_fiber, 0);
  setcontext(&context);
}

void run_block(dim3 threads) {
  const std::size_t count = std::size_t{threads.x} * threads.y;
  if (count % kLanes != 0) throw std::logic_error("blocks of whole warps only");
  block.fibers.resize(std::max(block.fibers.size(), count));
  block.warps.assign(count / kLanes, Warp());
  block.arrived = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Fiber& fiber = block.fibers[i];
    fiber.index = dim3(static_cast<unsigned>(i) % threads.x, static_cast<unsigned>(i) / threads.x);
    fiber.begun = fiber.done = false;
    fiber.copies.clear();
    fiber.groups = 0;
    fiber.stack.resize(kStack);
  }
  const bool backwards = ++block.number % 2 == 0;
  for (std::size_t left = count; left > 0;) {
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t i = backwards ? count - 1 - k : k;
      if (block.fibers[i].done) continue;
      resume(i);
      if (block.fibers[i].done) --left;
    }
  }
}

}  // namespace

void run_grid(dim3 grid, dim3 threads, std::size_t shared, const std::function<void()>& thread_body) {
  gridDim = grid;
  blockDim = threads;
  block.body = &thread_body;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
        block.shared.assign((shared + 15) / 16, uint4{0x7fc07fc0, 0x7fc07fc0, 0x7fc07fc0, 0x7fc07fc0});  // NaN
        run_block(threads);
      }
    }
  }
}

void* dynamic_shared() { return block.shared.data(); }

void begin_copy(void* to, const void* from) {
  Fiber& fiber = block.fibers[block.current];
  const bool late = block.number / 2 % 2 == 0;
  if (late)
    fiber.copies.push_back({to, from, fiber.groups});
  else
    make_copy({to, from, 0});
}

void end_copies() { ++block.fibers[block.current].groups; }

void wait_for_copies(std::size_t groups_left) {
  Fiber& fiber = block.fibers[block.current];
  std::vector<Copy> later;
  for (const Copy& copy : fiber.copies) {
    if (copy.group + groups_left < fiber.groups)
      make_copy(copy);
    else
      later.push_back(copy);
  }
  fiber.copies = later;
}

void block_barrier() {
  const std::size_t round = block.round;
  if (++block.arrived == std::size_t{blockDim.x} * blockDim.y) {
    block.arrived = 0;
    ++block.round;
    return;
  }
  while (block.round == round) give_turn();
}

const unsigned char* of_all_lanes(const void* mine, std::size_t bytes, void (*together)(unsigned char*)) {
  if (bytes > kMostLaneBytes) throw std::logic_error("too much for a lane to exchange");
  Warp& warp = block.warps[block.current / kLanes];
  const std::size_t round = warp.round;
  unsigned char* slots = warp.slots[round % 2];
  std::memcpy(slots + block.current % kLanes * bytes, mine, bytes);
  if (++warp.arrived == kLanes) {
    if (together != nullptr) together(slots);
    warp.arrived = 0;
    ++warp.round;
  } else {
    while (warp.round == round) give_turn();
  }
  return slots;
}

}  // namespace ringtron::on_host
