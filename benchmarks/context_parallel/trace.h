// A Chrome trace of the device's own activity (kernels, copies) during steps of attention: where the time goes.
#pragma once

#include "benchmarks/context_parallel/setting.h"

namespace ringtron::benchmark {

// For every transport and head count at the first length: each rank writes
// `options.trace`-<transport>-<groups>-rank<rank>.json. Open the files in Perfetto or chrome://tracing.
void write_traces(const Setting& setting);

}  // namespace ringtron::benchmark
