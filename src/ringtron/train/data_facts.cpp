#include "ringtron/train/data_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ringtron/base/hash.h"
#include "ringtron/checkpoint/strict_json.h"

namespace ringtron {
namespace {

using nlohmann::json;

constexpr const char* kMember = "data";

bool same_content(const CorpusFacts& a, const CorpusFacts& b) {
  return a.documents == b.documents && a.tokens == b.tokens && a.index_hash == b.index_hash &&
         (a.hashed_bytes != b.hashed_bytes || a.content_hash == b.content_hash);
}

std::string numbers(const CorpusFacts& facts) {
  return fmt::format("{} documents with {} tokens", facts.documents, facts.tokens);
}

}  // namespace

CorpusFacts facts_of(const IndexedDataset& corpus, std::int64_t most_bytes) {
  return {.path = corpus.prefix(),
          .documents = corpus.documents(),
          .tokens = corpus.tokens(),
          .index_hash = hex64(corpus.index_hash()),
          .content_hash = hex64(corpus.content_hash(static_cast<std::size_t>(most_bytes))),
          .hashed_bytes = most_bytes};
}

json data_facts_to_json(const DataFacts& facts) {
  json out = json::array();
  for (const CorpusFacts& one : facts) {
    out.push_back({{"path", one.path},
                   {"documents", one.documents},
                   {"tokens", one.tokens},
                   {"index_hash", one.index_hash},
                   {"content_hash", one.content_hash},
                   {"hashed_bytes", one.hashed_bytes}});
  }
  return out;
}

DataFacts data_facts_of_metadata(const json& metadata) {
  DataFacts out;
  if (!metadata.is_object() || !metadata.contains(kMember)) return out;
  const json& corpora = array_member(metadata, kMember, "metadata");
  for (std::size_t i = 0; i < corpora.size(); ++i) {
    const std::string where = fmt::format("metadata.{}[{}]", kMember, i);
    out.push_back({.path = text_member(corpora[i], "path", where),
                   .documents = count_member(corpora[i], "documents", where),
                   .tokens = count_member(corpora[i], "tokens", where),
                   .index_hash = text_member(corpora[i], "index_hash", where),
                   .content_hash = text_member(corpora[i], "content_hash", where),
                   .hashed_bytes = count_member(corpora[i], "hashed_bytes", where)});
  }
  return out;
}

std::vector<std::string> changed_data(const DataFacts& saved, const DataFacts& now) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < now.size(); ++i) {
    auto before = std::ranges::find(saved, now[i].path, &CorpusFacts::path);
    if (before == saved.end() && saved.size() == now.size()) before = saved.begin() + static_cast<std::ptrdiff_t>(i);
    if (before == saved.end() || same_content(*before, now[i])) continue;
    lines.push_back(fmt::format(
        "the corpus {} has other content than {} when the checkpoint was made: {} then, {} now{}. Training goes on "
        "with what is there now",
        now[i].path, before->path == now[i].path ? "it had" : before->path + " had", numbers(*before), numbers(now[i]),
        numbers(*before) == numbers(now[i]) ? ", of another checksum" : ""));
  }
  return lines;
}

}  // namespace ringtron
