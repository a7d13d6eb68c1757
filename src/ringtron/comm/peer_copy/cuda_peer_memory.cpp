#include "ringtron/comm/peer_copy/cuda_peer_memory.h"

#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
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

// Memory of peers, open as long as it is used: opening takes milliseconds.
class OpenAllocations {
 public:
  std::byte* find(const PeerPointer& where) {
    const std::string handle(where.handle.data(), where.handle_bytes);
    auto [at, added] = open_.try_emplace(handle);
    if (added) at->second.memory = c10::cuda::CUDACachingAllocator::getIpcDevPtr(handle);
    at->second.used = ++uses_;
    std::byte* const begin = static_cast<std::byte*>(at->second.memory.get());
    if (added || uses_ % kLookEvery == 0) close_unused();
    return begin + where.offset;
  }

 private:
  struct Entry {
    std::shared_ptr<void> memory;
    std::int64_t used = 0;
  };

  static constexpr std::int64_t kLookEvery = 100;

  // An allocation that its owner has given back to the driver occupies memory while it is open here.
  void close_unused() {
    constexpr std::size_t kMost = 1024;
    // Uses of others since: more than a step of training has, which are 14 (n - 1) a layer with n tensor ranks.
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
  explicit CudaPeerMemory(SharedMemory board) : pages_(std::move(board)), device_(c10::cuda::current_device()) {
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
    // The allocator knows the begins of what it has given out, of which a tensor may be a part.
    const auto* const begin = static_cast<const std::byte*>(tensor.storage().data());
    const auto shared = c10::cuda::CUDACachingAllocator::shareIpcHandle(tensor.storage().mutable_data());
    PeerPointer pointer;
    // The handle's second byte tells the kind. Those of expandable segments grow with the segment, and can come again
    // for other memory.
    RT_CHECK(shared.handle.size() >= 2 && shared.handle[1] == 'c', "LibTorch's allocator uses expandable segments");
    RT_CHECK_LE(shared.handle.size(), pointer.handle.size(), "bytes of a handle for memory of a GPU");
    std::memcpy(pointer.handle.data(), shared.handle.data(), shared.handle.size());
    pointer.handle_bytes = static_cast<std::uint32_t>(shared.handle.size());
    pointer.offset = shared.offset + (static_cast<const std::byte*>(tensor.data_ptr()) - begin);
    return pointer;
  }

  void mark(std::span<Flag* const> flags, std::uint32_t value) override {
    const at::cuda::CUDAStream stream = at::cuda::getCurrentCUDAStream(device_);
    std::vector<CUstreamBatchMemOpParams> writes(flags.size());
    for (std::size_t i = 0; i < flags.size(); ++i) writes[i] = write_of(*flags[i], value);
    marked_.block(stream);  // flags only grow, also where the current stream is not the last one
    run(stream, writes);
    marked_.record(stream);
  }

  void wait(std::span<Flag* const> flags, std::uint32_t value) override {
    std::vector<CUstreamBatchMemOpParams> waits(flags.size());
    for (std::size_t i = 0; i < flags.size(); ++i) waits[i] = wait_of(*flags[i], value);
    run(at::cuda::getCurrentCUDAStream(device_), waits);
  }

  void fetch(int peer, const Flag& ready, std::uint32_t value, std::span<const Copy> copies, Flag& moved) override {
    const at::cuda::CUDAStream stream = stream_for(peer);
    std::vector<const std::byte*> sources;  // opened first: opening may wait for the device
    for (const Copy& copy : copies) sources.push_back(allocations_.find(copy.from));
    marked_.block(stream);
    run(stream, {wait_of(ready, value)});
    for (std::size_t i = 0; i < copies.size(); ++i) {
      C10_CUDA_CHECK(cudaMemcpyAsync(copies[i].to, sources[i], static_cast<std::size_t>(copies[i].bytes),
                                     cudaMemcpyDefault, stream));
    }
    run(stream, {write_of(moved, value)});
  }

  void finish() override {
    const c10::cuda::CUDAGuard guard(device_);
    C10_CUDA_CHECK(cudaDeviceSynchronize());
  }

 private:
  CUdeviceptr address(const Flag& flag) const {
    return reinterpret_cast<CUdeviceptr>(mapped_ + (reinterpret_cast<const std::byte*>(&flag) - pages_.data()));
  }

  CUstreamBatchMemOpParams wait_of(const Flag& flag, std::uint32_t value) const {
    CUstreamBatchMemOpParams operation{};
    operation.waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
    operation.waitValue.address = address(flag);
    operation.waitValue.value = value;
    operation.waitValue.flags = CU_STREAM_WAIT_VALUE_GEQ;
    return operation;
  }

  CUstreamBatchMemOpParams write_of(const Flag& flag, std::uint32_t value) const {
    CUstreamBatchMemOpParams operation{};
    operation.writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    operation.writeValue.address = address(flag);
    operation.writeValue.value = value;
    return operation;
  }

  at::cuda::CUDAStream stream_for(int peer) {
    const auto known = streams_.find(peer);
    if (known != streams_.end()) return known->second;
    // Of normal priority, which means nothing to copies: the pool of high priority is the one from which streams of
    // kernels come.
    return streams_.emplace(peer, at::cuda::getStreamFromPool(/*isHighPriority=*/false)).first->second;
  }

  void run(CUstream stream, std::vector<CUstreamBatchMemOpParams> operations) const {
    if (operations.empty()) return;
    const CUresult result = batch_(stream, static_cast<unsigned>(operations.size()), operations.data(), 0);
    RT_CHECK(result == CUDA_SUCCESS, "flags in a stream: error {} of the CUDA driver", static_cast<int>(result));
  }

  SharedMemory pages_;
  c10::DeviceIndex device_;
  std::map<int, at::cuda::CUDAStream> streams_;  // one for each peer, so that none waits for another's peer
  at::cuda::CUDAEvent marked_;
  std::byte* mapped_ = nullptr;  // the pages as the GPU sees them
  OpenAllocations allocations_;
  decltype(&cuStreamBatchMemOp) batch_ =
      of_driver<std::remove_pointer_t<decltype(&cuStreamBatchMemOp)>>("cuStreamBatchMemOp");
};

}  // namespace

std::unique_ptr<PeerMemory> make_cuda_peer_memory(SharedMemory board) {
  return std::make_unique<CudaPeerMemory>(std::move(board));
}

}  // namespace ringtron
