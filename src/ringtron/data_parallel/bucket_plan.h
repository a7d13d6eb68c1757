// Where each parameter's gradient lies in the gradient buffer, and how the buffer is cut into buckets.
//
// Integers only. Parameters lie in reverse order of registration, since backward makes the last layer's
// gradients first: buckets fill, and can be reduced, from the front. Each parameter begins on a multiple of
// kAlignment elements, each bucket ends on a multiple of lcm(group size, 128), so that it can be cut into
// equal shards.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ringtron {

struct BucketOptions {
  bool overlap = false;          // --overlap-grad-reduce; off: one bucket
  std::int64_t bucket_size = 0;  // --ddp-bucket-size, elements; 0: max(40,000,000, 1,000,000 * group size)
  int group_size = 1;            // ranks over which gradients are summed
};

struct Bucket {
  std::int64_t begin = 0;       // first element in the buffer
  std::int64_t end = 0;         // with padding; the next bucket's begin
  std::vector<int> parameters;  // indices in order of registration, last first
};

struct BucketPlan {
  static constexpr std::int64_t kAlignment = 64;

  std::vector<std::int64_t> offsets;  // of each parameter, by its index
  std::vector<int> bucket_of;         // of each parameter, by its index
  std::vector<Bucket> buckets;        // without gaps; none is empty
  std::int64_t elements = 0;          // of the whole buffer
};

// `sizes` are the parameters' local elements, in order of registration. A bucket closes with the parameter
// that brings it to the bucket size. InternalError if a size is negative or the group empty.
BucketPlan plan_buckets(std::span<const std::int64_t> sizes, const BucketOptions& options);

}  // namespace ringtron
