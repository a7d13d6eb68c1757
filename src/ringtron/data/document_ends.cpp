#include "ringtron/data/document_ends.h"

#include <algorithm>
#include <vector>

namespace ringtron {
namespace {

constexpr std::int64_t kSequences = 4096;
constexpr std::int64_t kTokens = 1 << 20;

}  // namespace

bool has_token_at_an_end(const IndexedDataset& corpus, std::int64_t token) {
  const std::int64_t looked_at = std::min(corpus.sequences(), kSequences);
  for (std::int64_t i = 0; i < looked_at; ++i) {
    // Below 2^31 sequences times 2^12.
    const std::int64_t sequence = corpus.sequences() * i / looked_at;
    const std::int64_t length = corpus.sequence_length(sequence);
    std::int32_t last = -1;
    if (length > 0) corpus.read(sequence, length - 1, 1, &last);
    if (last == token) return true;
  }
  std::vector<std::int32_t> buffer;
  std::int64_t left = kTokens;
  for (std::int64_t s = 0; s < corpus.sequences() && left > 0; ++s) {
    const std::int64_t count = std::min<std::int64_t>(left, corpus.sequence_length(s));
    buffer.resize(static_cast<std::size_t>(count));
    corpus.read(s, 0, count, buffer.data());
    if (std::find(buffer.begin(), buffer.end(), token) != buffer.end()) return true;
    left -= std::max<std::int64_t>(count, 1);
  }
  return false;
}

}  // namespace ringtron
