#include "ringtron/tools/document_texts.h"

#include <fmt/format.h>

#include <set>
#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/tools/json_line.h"

namespace ringtron {
namespace {

constexpr std::int64_t kSkippedTold = 5;

}  // namespace

DocumentCounts for_each_text(std::vector<InputFile> files, const std::vector<std::string>& json_keys,
                             const ReadContext& context, const std::function<void(std::string_view)>& visit) {
  DocumentSource source(std::move(files), {.pieces = true}, context);
  JsonLine json(json_keys);
  DocumentCounts counts;
  RawDocument document;
  while (source.next(document)) {
    if (document.line == 0) {
      visit(document.text);
      if (!document.continues) ++counts.documents;
    } else if (document.fault.empty() && json.read(document.text)) {
      for (std::size_t key = 0; key < json_keys.size(); ++key) {
        for (const std::string& text : json.texts(key)) visit(text);
      }
      ++counts.documents;
      counts.lone_surrogates += json.lone_surrogates();
    } else if (++counts.skipped <= kSkippedTold) {
      context.notice(
          fmt::format("{}: {}; skipped", place_of(document), document.fault.empty() ? json.fault() : document.fault));
    }
  }
  return counts;
}

void check_json_keys(const std::vector<std::string>& keys) {
  if (keys.empty()) throw ConfigError("--json-keys: expected at least one key, got none");
  std::set<std::string> seen;
  for (const std::string& key : keys) {
    if (!seen.insert(key).second) {
      throw ConfigError(fmt::format("--json-keys: expected each key once, got \"{}\" twice", excerpt(key)));
    }
  }
}

}  // namespace ringtron
