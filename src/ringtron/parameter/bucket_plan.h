// Where each parameter lies in a flat buffer, of gradients or of optimizer state, how the buffer is cut into buckets,
// and which range of each bucket a rank owns.
//
// Integers only. Parameters lie in reverse order of registration, since backward makes the last layer's
// gradients first: buckets fill, and can be reduced, from the front. Each parameter begins on a multiple of
// kAlignment elements, each bucket ends on a multiple of lcm(group size, 128), so that it can be cut into
// equal shards; where it is, these begin on multiples of kAlignment too.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ringtron {

struct BucketOptions {
  bool overlap = false;          // off with --no-overlap-grad-reduce: one bucket
  std::int64_t bucket_size = 0;  // --ddp-bucket-size, elements; 0: max(40,000,000, 1,000,000 * group size)
  int group_size = 1;            // ranks over which gradients are summed
  bool sharded = false;          // --use-distributed-optimizer: each of them owns a shard of each bucket
  bool bf16_messages = false;    // --grad-reduce-in-bf16: what goes between them is rounded
  bool overlap_gather = false;   // values come during the next forward
};

struct Bucket {
  std::int64_t begin = 0;       // first element in the buffer
  std::int64_t end = 0;         // with padding; the next bucket's begin
  std::vector<int> parameters;  // indices in order of registration, last first
};

// Elements [begin, end) of a flat buffer, or of a tensor in row-major order.
struct ElementRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
  bool operator==(const ElementRange&) const = default;
};

struct BucketPlan {
  static constexpr std::int64_t kAlignment = 64;
  // The next multiple of it.
  static constexpr std::int64_t aligned(std::int64_t elements) {
    return (elements + kAlignment - 1) / kAlignment * kAlignment;
  }

  std::vector<std::int64_t> offsets;  // of each parameter, by its index
  std::vector<int> bucket_of;         // of each parameter, by its index
  std::vector<Bucket> buckets;        // without gaps; none is empty
  std::int64_t elements = 0;          // of the whole buffer
};

// `sizes` are the parameters' local elements, in order of registration. A bucket closes with the parameter
// that brings it to the bucket size. Those of the indices `alone` have a bucket each, so that who owns what of them
// depends on their sizes alone. InternalError if a size is negative or the group empty.
BucketPlan plan_buckets(std::span<const std::int64_t> sizes, const BucketOptions& options,
                        std::span<const int> alone = {});

// What rank `rank` of `size` owns when the buckets are sharded: an equal range of each, in the order of the buckets. Of
// size 1 the whole buckets. InternalError if `size` does not divide a bucket; the plan's group_size does.
std::vector<ElementRange> bucket_shards(const BucketPlan& plan, int rank, int size);

// What of one parameter lies in such shards.
struct OwnedPart {
  int parameter = 0;        // its index
  ElementRange elements;    // of the parameter, row-major
  std::int64_t offset = 0;  // in a buffer that holds the shards, and nothing else, one after the other
  bool operator==(const OwnedPart&) const = default;
};

// By parameter; those that do not lie in the shards at all are not there. `sizes` are those that the plan was made of.
std::vector<OwnedPart> owned_parts(const BucketPlan& plan, std::span<const std::int64_t> sizes,
                                   std::span<const ElementRange> shards);

}  // namespace ringtron
