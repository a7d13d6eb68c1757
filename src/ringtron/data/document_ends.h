// Whether a corpus marks where its documents end.
#pragma once

#include <cstdint>

#include "ringtron/data/indexed_dataset.h"

namespace ringtron {

// Whether `token` is the last one of any of up to 4,096 sequences at even distances, or stands anywhere in the first
// million tokens. Reads no more than that.
bool has_token_at_an_end(const IndexedDataset& corpus, std::int64_t token);

}  // namespace ringtron
