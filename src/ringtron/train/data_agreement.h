// All ranks read the same data: the same tokens in the same order, not only files of one name and size.
#pragma once

#include <map>
#include <string>

#include "ringtron/comm/communicator.h"
#include "ringtron/data/indexed_dataset.h"

namespace ringtron {

// What a corpus holds, in a line that is equal for equal corpora: checksums of its index, and of all its tokens or, of a
// large one, of pieces of them: some MiB, and less where `corpora_before` it have been looked at already.
std::string describe_content(const IndexedDataset& corpus, std::size_t corpora_before);

// `data`: a line for each corpus, by its prefix. Throws ConfigError, the same on all ranks, where the lines of a rank are
// not those that most ranks have: the rank, its host, the file, and both lines. Collective.
void demand_same_data(Communicator& world, const std::map<std::string, std::string>& data);

}  // namespace ringtron
