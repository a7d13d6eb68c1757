#include "ringtron/comm/cuda_peer_memory.h"

#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

// A function of the driver, by the name it has in <cuda.h>. Looked up, so that programs need no libcuda to be linked.
template <class Function>
Function* of_driver(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  C10_CUDA_CHECK(cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found));
  RT_CHECK(found == cudaDriverEntryPointSuccess && function != nullptr, "the CUDA driver has no {}", name);
  return reinterpret_cast<Function*>(function);
}

void check_driver(CUresult result, const char* what) {
  RT_CHECK(result == CUDA_SUCCESS, "{}: error {} of the CUDA driver", what, static_cast<int>(result));
}

// Memory of peers, open as long as it is used: opening takes milliseconds.
class OpenAllocations {
 public:
  std::byte* find(const PeerPointer& where) {
    const std::string handle(where.handle.data(), where.handle_bytes);
    auto [at, added] = open_.try_emplace(handle);
    if (added) at->second.memory = c10::cuda::CUDACachingAllocator::getIpcDevPtr(handle);
    at->second.used = ++uses_;
    std::byte* const begin = static_cast<std::byte*>(at->second.memory.get());
    if (added) close_unused();
    return begin + where.offset;
  }

 private:
  struct Entry {
    std::shared_ptr<void> memory;
    std::int64_t used = 0;
  };

  // An allocation that its owner has given back stays the owner's no more, but occupies memory while it is open here.
  void close_unused() {
    constexpr std::size_t kMost = 256;
    constexpr std::int64_t kForgotten = 10'000;
    std::erase_if(open_, [&](const auto& entry) { return uses_ - entry.second.used > kForgotten; });
    while (open_.size() > kMost) {
      open_.erase(std::ranges::min_element(open_, {}, [](const auto& entry) { return entry.second.used; }));
    }
  }

  std::map<std::string, Entry> open_;
  std::int64_t uses_ = 0;
};

class CudaPeerMemory final : public PeerMemory {
 public:
  explicit CudaPeerMemory(SharedPages board)
      : pages_(std::move(board)),
        device_(c10::cuda::current_device()),
        transfers_(at::cuda::getStreamFromPool(/*isHighPriority=*/true)) {
    C10_CUDA_CHECK(cudaHostRegister(pages_.data(), pages_.size(), cudaHostRegisterMapped | cudaHostRegisterPortable));
    void* mapped = nullptr;
    C10_CUDA_CHECK(cudaHostGetDevicePointer(&mapped, pages_.data(), 0));
    mapped_ = static_cast<std::byte*>(mapped);
  }

  ~CudaPeerMemory() override {
    const c10::cuda::CUDAGuard guard(device_);
    C10_CUDA_IGNORE_ERROR(cudaHostUnregister(pages_.data()));
  }

  PeerPointer exported(const at::Tensor& tensor) override {
    const auto shared = c10::cuda::CUDACachingAllocator::shareIpcHandle(tensor.data_ptr());
    PeerPointer pointer;
    RT_CHECK(shared.handle.size() <= pointer.handle.size(), "a handle of {} bytes for memory of a GPU, at most {} expected",
             shared.handle.size(), pointer.handle.size());
    std::memcpy(pointer.handle.data(), shared.handle.data(), shared.handle.size());
    pointer.handle_bytes = static_cast<std::uint32_t>(shared.handle.size());
    pointer.offset = shared.offset;
    return pointer;
  }

  void mark(Flag& flag, std::uint32_t value) override {
    check_driver(write_value_(at::cuda::getCurrentCUDAStream(device_), address(flag), value, 0), "writing a flag");
  }

  void wait(std::span<Flag* const> flags, std::uint32_t value) override {
    const CUstream stream = at::cuda::getCurrentCUDAStream(device_);
    std::vector<CUstreamBatchMemOpParams> waits(flags.size());
    for (std::size_t i = 0; i < flags.size(); ++i) {
      waits[i].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
      waits[i].waitValue.address = address(*flags[i]);
      waits[i].waitValue.value = value;
      waits[i].waitValue.flags = CU_STREAM_WAIT_VALUE_GEQ;
    }
    check_driver(batch_(stream, static_cast<unsigned>(waits.size()), waits.data(), 0), "waiting for a flag");
  }

  void copy(void* to, const PeerPointer& from, std::int64_t bytes) override {
    use_device();
    C10_CUDA_CHECK(cudaMemcpyAsync(to, allocations_.find(from), static_cast<std::size_t>(bytes), cudaMemcpyDefault, transfers_));
  }

  void signal(Flag& flag, std::uint32_t value) override {
    use_device();
    check_driver(write_value_(transfers_, address(flag), value, 0), "writing a flag");
  }

  void finish() override {
    const c10::cuda::CUDAGuard guard(device_);
    C10_CUDA_CHECK(cudaDeviceSynchronize());
  }

 private:
  CUdeviceptr address(const Flag& flag) const {
    return reinterpret_cast<CUdeviceptr>(mapped_ + (reinterpret_cast<const std::byte*>(&flag) - pages_.data()));
  }

  // For the courier's thread, which begins on GPU 0.
  void use_device() const { c10::cuda::set_device(device_); }

  SharedPages pages_;
  c10::DeviceIndex device_;
  at::cuda::CUDAStream transfers_;
  std::byte* mapped_ = nullptr;  // the pages as the GPU sees them
  OpenAllocations allocations_;
  decltype(&cuStreamWriteValue32) write_value_ = of_driver<std::remove_pointer_t<decltype(&cuStreamWriteValue32)>>("cuStreamWriteValue32");
  decltype(&cuStreamBatchMemOp) batch_ = of_driver<std::remove_pointer_t<decltype(&cuStreamBatchMemOp)>>("cuStreamBatchMemOp");
};

}  // namespace

std::unique_ptr<PeerMemory> make_cuda_peer_memory(SharedPages board) {
  return std::make_unique<CudaPeerMemory>(std::move(board));
}

}  // namespace ringtron
