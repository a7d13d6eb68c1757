// The words of --cp-comm-type that name a transport of context parallelism. Unlike other choices this one is
// open: a program may add to it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ringtron {

struct TransportWord {
  std::string word;
  std::vector<std::string> spellings = {};  // others that are read as it
};

// The one that `text` is, or is another spelling of. Null: none.
const TransportWord* find_transport_word(std::string_view text);

// Called by add_transport() (context_parallel/plan/transport.h), which gives the word its meaning. Before
// flags are parsed; not thread-safe.
void add_transport_word(TransportWord word);

// All that --cp-comm-type takes: these words and spellings in the order in which they were added, and auto.
std::vector<std::string_view> cp_comm_types();

}  // namespace ringtron
