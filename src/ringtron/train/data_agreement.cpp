#include "ringtron/train/data_agreement.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/text.h"
#include "ringtron/train/agreement.h"

namespace ringtron {
namespace {

// A few reads of a network file system; corpora below it are compared whole.
constexpr std::size_t kMostBytes = 16 << 20, kMostBytesOfMany = 1 << 20;
constexpr std::size_t kMany = 16;  // corpora
constexpr int kListed = 3;  // ranks that differ

std::string host_name() {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  return host;
}

// Host first, then "prefix=line" for each corpus.
std::string text_of(const std::map<std::string, std::string>& data) {
  std::string text = host_name() + "\n";
  for (const auto& [prefix, line] : data) {
    text += fmt::format("{}: {}\n", std::filesystem::absolute(prefix).lexically_normal().string(), line);
  }
  return text;
}

std::string without_host(const std::string& text) { return text.substr(text.find('\n') + 1); }

// Corpora lie in one order in both; paths may differ, content may not.
std::string difference(const std::string& mine, const std::string& usual, std::size_t usual_rank) {
  const auto a = split(without_host(mine), '\n'), b = split(without_host(usual), '\n');
  const auto content = [](const std::string& line) { return line.substr(std::min(line.size(), line.find(": ") + 2)); };
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    const std::string here = i < a.size() ? a[i] : "nothing", there = i < b.size() ? b[i] : "nothing";
    if (content(here) != content(there)) {
      return fmt::format("\n    {}\n    rank {}: {}", here, usual_rank, there);
    }
  }
  return "";
}

// The same corpora by content, whatever folders they lie in.
std::uint64_t hash_of(const std::map<std::string, std::string>& data) {
  std::uint64_t hash = 0;
  for (const auto& [prefix, line] : data) hash = hash64(line, hash);
  return hash;
}

// The rank whose data most ranks have; of equals the first.
std::size_t usual_rank(const std::vector<std::string>& hashes) {
  std::size_t best = 0;
  std::ptrdiff_t most = 0;
  for (std::size_t r = 0; r < hashes.size(); ++r) {
    const auto count = std::count(hashes.begin(), hashes.end(), hashes[r]);
    if (count > most) {
      most = count;
      best = r;
    }
  }
  return best;
}

}  // namespace

std::string describe_content(const IndexedDataset& corpus, std::size_t corpora_before) {
  const std::size_t most = corpora_before < kMany ? kMostBytes : kMostBytesOfMany;
  return fmt::format("index {}, tokens {}", hex64(corpus.index_hash()), hex64(corpus.content_hash(most)));
}

void demand_same_data(Communicator& world, const std::map<std::string, std::string>& data) {
  // One number of each rank, as long as all is well.
  const auto own = static_cast<std::int64_t>(hash_of(data) >> 1);
  if (agree_max(world, own) == -agree_max(world, -own)) return;
  const std::vector<std::string> hashes = gather_texts(world, hex64(hash_of(data)));
  const std::vector<std::string> texts = gather_texts(world, text_of(data));
  const std::size_t usual = usual_rank(hashes);
  std::string faults;
  int listed = 0;
  for (std::size_t r = 0; r < texts.size() && listed < kListed; ++r) {
    if (hashes[r] == hashes[usual]) continue;
    faults += fmt::format("\n  rank {} on {}:{}", r, split(texts[r], '\n')[0], difference(texts[r], texts[usual], usual));
    ++listed;
  }
  const std::string message = fmt::format(
      "data: not all ranks have the same data; the files differ in content or in the order made of them. Copy the corpus "
      "anew to the hosts named (and delete its cache folder there).{}", faults);
  together(world, [&] { if (world.rank() == 0) throw ConfigError(message); });
}

}  // namespace ringtron
