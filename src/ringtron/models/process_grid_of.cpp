#include "ringtron/models/process_grid_of.h"

namespace ringtron {

ProcessGrid process_grid_of(const ParallelConfig& parallel, int world_size) {
  GridSizes sizes;
  sizes.tensor = parallel.tensor_model_parallel_size;
  sizes.context = parallel.context_parallel_size;
  sizes.pipeline = parallel.pipeline_model_parallel_size;
  return ProcessGrid::from_world(world_size, sizes,
                                 parallel.use_tp_pp_dp_mapping ? RankOrder::tp_cp_pp_dp : RankOrder::tp_cp_dp_pp);
}

}  // namespace ringtron
