#include "ringtron/tools/document_lengths.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

#include "ringtron/base/text.h"

namespace ringtron {
namespace {

constexpr double kLongestBar = 20;  // characters, for all of them

// In half characters.
std::string bar(double share) {
  const auto halves = static_cast<int>(std::lround(2 * kLongestBar * share));
  std::string text;
  for (int i = 0; i < halves / 2; ++i) text += "█";
  if (halves % 2 == 1) text += "▌";
  // Padded by hand: fmt counts bytes of a bar in some versions.
  return text + std::string(static_cast<std::size_t>(kLongestBar - std::ceil(halves / 2.0)), ' ');
}

struct LengthClass {
  std::int64_t documents = 0, tokens = 0;
};

std::string row(std::int64_t largest, const LengthClass& some, const LengthClass& all) {
  const auto share = [](std::int64_t part, std::int64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
  };
  const double documents = share(some.documents, all.documents), tokens = share(some.tokens, all.tokens);
  const std::string line =
      fmt::format("  {:>14}  {:>13} {:>4.0f}%  {}  {:>4.0f}%  {}", grouped(largest), grouped(some.documents),
                  100 * documents, bar(documents), 100 * tokens, bar(tokens));
  return line.substr(0, line.find_last_not_of(' ') + 1);
}

}  // namespace

std::vector<std::int64_t> document_lengths(const IndexedDataset& corpus) {
  std::vector<std::int64_t> lengths;
  lengths.reserve(static_cast<std::size_t>(corpus.documents()));
  std::int64_t begin = 0;
  for (std::int64_t document = 0; document < corpus.documents(); ++document) {
    const std::int64_t end = corpus.document_begin(document + 1);
    std::int64_t tokens = 0;
    for (std::int64_t sequence = begin; sequence < end; ++sequence) tokens += corpus.sequence_length(sequence);
    lengths.push_back(tokens);
    begin = end;
  }
  return lengths;
}

std::string describe_lengths(std::vector<std::int64_t> lengths) {
  if (lengths.empty()) return "";
  std::sort(lengths.begin(), lengths.end());
  // The least length that this share of the documents does not exceed.
  const auto at = [&](double share) {
    const auto count = static_cast<std::size_t>(std::ceil(share * static_cast<double>(lengths.size())));
    return grouped(lengths[std::max<std::size_t>(count, 1) - 1]);
  };
  std::map<std::int64_t, LengthClass> classes;  // by the largest length of the class
  LengthClass all;
  for (const std::int64_t length : lengths) {
    for (LengthClass* some :
         {&classes[static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(length)))], &all}) {
      ++some->documents;
      some->tokens += length;
    }
  }
  const double mean = static_cast<double>(all.tokens) / static_cast<double>(all.documents);
  std::string text = fmt::format(
      "  lengths     {} to {} tokens: median {}, mean {}, 9 of 10 at most {}\n  {:>14}  {:>13} {:>5}  {:<20}  {:>5}",
      at(0), at(1), at(0.5), grouped(std::llround(mean)), at(0.9), "up to", "documents", "", "", "of all tokens");
  for (const auto& [largest, some] : classes) text += "\n" + row(largest, some, all);
  return text;
}

}  // namespace ringtron
