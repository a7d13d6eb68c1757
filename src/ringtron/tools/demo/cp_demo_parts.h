// The three parts of cp_demo. Each is collective, prints on rank 0, and returns whether this rank found all
// to be right.
#pragma once

#include "ringtron/config/config.h"
#include "ringtron/train/job.h"

namespace ringtron {

bool show_groups(const Job& job);

// Hidden states [s, b, h] that all ranks make alike, of which each takes its rows: s / (CP x TP) of them
// under sequence parallelism.
bool show_block(const Job& job);

// [s/cp, b, channels] -> [s, b, channels/cp] and back: how Mamba layers are divided. Real ones exchange z, x,
// B, C and dt.
bool show_exchange(const Job& job);

}  // namespace ringtron
