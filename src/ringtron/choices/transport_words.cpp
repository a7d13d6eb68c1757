#include "ringtron/choices/transport_words.h"

#include <algorithm>
#include <deque>
#include <utility>

namespace ringtron {
namespace {

// A deque, so that words stay where they are when others are added.
std::deque<TransportWord>& words() {
  // Both spellings of the gather are in circulation.
  static std::deque<TransportWord> all = {{"p2p"}, {"all_gather", {"allgather"}}, {"a2a"}, {"a2a+p2p"}};
  return all;
}

}  // namespace

const TransportWord* find_transport_word(std::string_view text) {
  for (const TransportWord& known : words()) {
    if (known.word == text || std::ranges::find(known.spellings, text) != known.spellings.end()) return &known;
  }
  return nullptr;
}

void add_transport_word(TransportWord word) { words().push_back(std::move(word)); }

std::vector<std::string_view> cp_comm_types() {
  std::vector<std::string_view> types;
  for (const TransportWord& known : words()) {
    types.emplace_back(known.word);
    types.insert(types.end(), known.spellings.begin(), known.spellings.end());
  }
  types.emplace_back("auto");
  return types;
}

}  // namespace ringtron
