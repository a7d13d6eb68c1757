// The CUDA build's half of streams.h.
#include <c10/cuda/CUDAStream.h>

#include <map>
#include <mutex>

#include "ringtron/kernels/device/streams.h"

namespace ringtron {

std::vector<c10::Stream> streams_by_priority(at::Device device) {
  if (!device.is_cuda()) return {};
  static std::mutex mutex;
  static std::map<at::DeviceIndex, std::vector<c10::Stream>> known;
  const std::lock_guard lock(mutex);
  std::vector<c10::Stream>& streams = known[device.index()];
  if (streams.empty()) {
    const auto [least, greatest] = c10::cuda::CUDAStream::priority_range();  // 0 and below: the greatest is the lowest number
    for (int priority = greatest; priority <= least; ++priority) {
      streams.push_back(c10::cuda::getStreamFromPool(priority, device.index()).unwrap());
    }
  }
  return streams.size() < 3 ? std::vector<c10::Stream>{} : streams;
}

}  // namespace ringtron
