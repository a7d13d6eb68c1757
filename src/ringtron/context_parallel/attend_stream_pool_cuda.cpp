// The CUDA build's half of attend_streams.h.
#include <c10/cuda/CUDAStream.h>

#include <map>

#include "ringtron/context_parallel/attend_streams.h"

namespace ringtron::internal {

std::vector<c10::Stream> attend_stream_pool(at::Device device) {
  thread_local std::map<at::DeviceIndex, std::vector<c10::Stream>> known;
  if (!device.is_cuda()) return {};
  std::vector<c10::Stream>& streams = known[device.index()];
  if (streams.empty()) {
    const auto [least, greatest] = c10::cuda::CUDAStream::priority_range();  // 0 and below; the greatest is the lowest number
    for (int priority = greatest; priority <= least; ++priority) {
      streams.push_back(c10::cuda::getStreamFromPool(priority, device.index()).unwrap());
    }
  }
  return streams.size() < 3 ? std::vector<c10::Stream>{} : streams;
}

}  // namespace ringtron::internal
