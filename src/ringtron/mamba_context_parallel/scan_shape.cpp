#include "ringtron/mamba_context_parallel/scan_shape.h"

namespace ringtron {

std::shared_ptr<const ScanShape> make_scan_shape(const SequenceShape& shape, std::int64_t samples, int rank) {
  const std::int64_t length = shape.layout.sequence_length();
  ScanPlan plan = scan_plan(shape.layout, samples, shape.document_starts);
  auto own = std::make_shared<const ScanSegments>(shape.layout.local_length(rank), samples,
                                                  plan.of_rank[static_cast<std::size_t>(rank)]);
  const ScanPlan together = scan_plan(contiguous_layout(length, 1), samples, shape.document_starts);
  auto whole = std::make_shared<const ScanSegments>(length, samples, together.of_rank[0]);
  return std::make_shared<const ScanShape>(ScanShape{shape.layout, std::move(plan), std::move(own), std::move(whole)});
}

}  // namespace ringtron
