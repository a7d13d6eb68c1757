// Stands in for attend_stream_pool_cuda.cpp in a program built without CUDA.
#include "ringtron/context_parallel/attend_streams.h"

namespace ringtron::internal {

std::vector<c10::Stream> attend_stream_pool(at::Device) { return {}; }

}  // namespace ringtron::internal
