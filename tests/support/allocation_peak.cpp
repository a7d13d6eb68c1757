#include "tests/support/allocation_peak.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#include "ringtron/base/check.h"

namespace ringtron::testing {
namespace {

// What lies before each block: its size, and whose it is. As large as the alignment that ATen promises.
constexpr std::size_t kHeader = 64;

struct Header {
  std::size_t bytes;
  int period;  // of the AllocationPeak that counts it
};

struct Counters {
  std::mutex mutex;
  int period = 0;
  std::int64_t current = 0, peak = 0;
};

Counters& counters() {
  static Counters instance;
  return instance;
}

// Returns the period that counts it.
int add_new(std::int64_t bytes) {
  Counters& c = counters();
  const std::lock_guard lock(c.mutex);
  c.current += bytes;
  c.peak = std::max(c.peak, c.current);
  return c.period;
}

void subtract(const Header& header) {
  Counters& c = counters();
  const std::lock_guard lock(c.mutex);
  if (header.period == c.period) c.current -= static_cast<std::int64_t>(header.bytes);
}

void free_counted(void* data) {
  if (data == nullptr) return;
  char* block = static_cast<char*>(data) - kHeader;
  Header header{};
  std::memcpy(&header, block, sizeof(header));
  subtract(header);
  c10::GetDefaultCPUAllocator()->raw_deallocate(block);
}

class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes == 0) return {nullptr, nullptr, &free_counted, at::Device(at::kCPU)};
    char* block = static_cast<char*>(c10::GetDefaultCPUAllocator()->raw_allocate(bytes + kHeader));
    const Header header{bytes, add_new(static_cast<std::int64_t>(bytes))};
    std::memcpy(block, &header, sizeof(header));
    char* data = block + kHeader;
    return {data, data, &free_counted, at::Device(at::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_counted; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
};

CountingAllocator& counting() {
  static CountingAllocator allocator;
  return allocator;
}

}  // namespace

AllocationPeak::AllocationPeak() {
  RT_CHECK(c10::GetCPUAllocator() != &counting(), "an AllocationPeak lives already");
  Counters& c = counters();
  const std::lock_guard lock(c.mutex);
  ++c.period;
  c.current = c.peak = 0;
  c10::SetCPUAllocator(&counting(), /*priority=*/255);
}

AllocationPeak::~AllocationPeak() { c10::SetCPUAllocator(c10::GetDefaultCPUAllocator(), /*priority=*/255); }

std::int64_t AllocationPeak::current() const {
  const std::lock_guard lock(counters().mutex);
  return counters().current;
}

std::int64_t AllocationPeak::peak() const {
  const std::lock_guard lock(counters().mutex);
  return counters().peak;
}

}  // namespace ringtron::testing
