// All texts of --input one after another, for tools that need no more than that.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ringtron/tools/document_source.h"

namespace ringtron {

struct DocumentCounts {
  std::int64_t documents = 0;
  std::int64_t skipped = 0;          // lines that are no document; the first few were told
  std::int64_t lone_surrogates = 0;  // read as U+FFFD
};

// Calls visit(text) for each key of each document: on each text of a list, and on the pieces of a long plain text,
// which cut no word. Throws what DocumentSource throws.
DocumentCounts for_each_text(std::vector<InputFile> files, const std::vector<std::string>& json_keys,
                             const ReadContext& context, const std::function<void(std::string_view)>& visit);

// Throws ConfigError for no key at all and for one that comes twice.
void check_json_keys(const std::vector<std::string>& keys);

}  // namespace ringtron
