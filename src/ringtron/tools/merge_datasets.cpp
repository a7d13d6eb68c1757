#include "ringtron/tools/merge_datasets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/pending_file.h"
#include "ringtron/base/text.h"
#include "ringtron/data/index_format.h"
#include "ringtron/data/indexed_dataset.h"
#include "ringtron/tools/output_place.h"

namespace ringtron {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBufferBytes = 1 << 20;
constexpr double kProgressSeconds = 2;

// What the first look at a corpus has found; later looks must find the same.
struct Member {
  std::string prefix;
  std::int64_t sequences, documents, tokens;
  std::uint64_t hash;
};

bool has_half(const std::string& prefix, const char* half) {
  std::error_code error;
  return fs::exists(prefix + half, error);
}

void require_both_halves(const std::string& prefix) {
  for (const char* half : {".bin", ".idx"}) {
    if (has_half(prefix, half)) continue;
    throw ConfigError(fmt::format(
        "--input: {}{} is missing, nothing was written. A corpus is two files, PREFIX.bin and PREFIX.idx, as "
        "preprocess_data makes them; text files are joined by preprocess_data itself",
        excerpt(prefix, 200), half));
  }
}

std::vector<std::string> corpora_of_folder(const std::string& folder) {
  std::set<std::string> prefixes;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const fs::path& path = entry.path();
    if (path.extension() != ".bin" && path.extension() != ".idx") continue;
    prefixes.insert((path.parent_path() / path.stem()).string());
  }
  if (prefixes.empty()) {
    throw ConfigError(
        fmt::format("--input {}: expected pairs PREFIX.bin and PREFIX.idx, found none. Text becomes such a pair by "
                    "preprocess_data --input {} --output-prefix PREFIX --append-eod ...",
                    excerpt(folder, 200), excerpt(folder, 200)));
  }
  return {prefixes.begin(), prefixes.end()};
}

// Opens a corpus, which checks it.
IndexedDataset open_again(const Member& member) {
  IndexedDataset corpus(member.prefix);
  if (corpus.index_hash() != member.hash || corpus.tokens() != member.tokens) {
    throw IoError(fmt::format(
        "{} has changed while it was joined; nothing was written. Start again when it is complete", member.prefix));
  }
  return corpus;
}

std::vector<Member> look_at_all(const std::vector<std::string>& prefixes, TokenType& type,
                                const std::atomic<bool>& interrupted) {
  std::vector<Member> members;
  for (const std::string& prefix : prefixes) {
    if (interrupted) throw IoError("interrupted; nothing was written");
    const IndexedDataset corpus(prefix);
    if (members.empty()) type = corpus.token_type();
    if (corpus.token_type() != type) {
      throw ConfigError(fmt::format(
          "--input: {} holds {}, but {} holds {}; nothing was written. They come from vocabularies of other "
          "sizes: make both with one tokenizer",
          prefix, type_name(corpus.token_type()), members.front().prefix, type_name(type)));
    }
    members.push_back({prefix, corpus.sequences(), corpus.documents(), corpus.tokens(), corpus.index_hash()});
  }
  return members;
}

// Collects small writes.
class BufferedFile {
 public:
  explicit BufferedFile(PendingFile& file) : file_(file) {}
  ~BufferedFile() = default;

  template <class T>
  void put(T value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof value);
    std::memcpy(bytes_.data() + at, &value, sizeof value);
    if (bytes_.size() >= kBufferBytes) flush();
  }

  void flush() {
    file_.write(bytes_);
    bytes_.clear();
  }

 private:
  PendingFile& file_;
  std::vector<std::byte> bytes_;
};

// The index is three arrays behind each other, so each corpus is opened three times.
void write_index(const std::vector<Member>& members, TokenType type, const MergeSummary& sums, PendingFile& file) {
  file.write(index_format::kMagic);
  BufferedFile out(file);
  out.put(index_format::kVersion);
  out.put(static_cast<std::uint8_t>(type));
  out.put(static_cast<std::uint64_t>(sums.sequences));
  out.put(static_cast<std::uint64_t>(sums.documents + 1));
  for (const Member& member : members) {
    const IndexedDataset corpus = open_again(member);
    for (std::int64_t s = 0; s < member.sequences; ++s) out.put(corpus.sequence_length(s));
    corpus.require_whole();
  }
  std::int64_t offset = 0;
  for (const Member& member : members) {
    const IndexedDataset corpus = open_again(member);
    for (std::int64_t s = 0; s < member.sequences; ++s) {
      out.put(offset);
      offset += corpus.sequence_length(s) * std::int64_t{item_size(type)};
    }
    corpus.require_whole();
  }
  std::int64_t before = 0;
  out.put(before);
  for (const Member& member : members) {
    const IndexedDataset corpus = open_again(member);
    for (std::int64_t d = 1; d <= member.documents; ++d) out.put(before + corpus.document_begin(d));
    before += member.sequences;
    corpus.require_whole();
  }
  out.flush();
}

void copy_tokens(const Member& member, std::int64_t bytes, std::vector<char>& buffer, PendingFile& out,
                 const std::atomic<bool>& interrupted) {
  std::ifstream in(member.prefix + ".bin", std::ios::binary);
  std::int64_t copied = 0;
  while (in) {
    if (interrupted) throw IoError("interrupted; nothing was written");
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    const auto count = static_cast<std::size_t>(in.gcount());
    out.write(std::string_view(buffer.data(), count));
    copied += static_cast<std::int64_t>(count);
  }
  if (in.bad() || copied != bytes) {
    throw IoError(
        fmt::format("{}.bin: expected {} bytes, could read {}; nothing was written. It has changed, or its disk fails",
                    member.prefix, bytes, copied));
  }
}

}  // namespace

std::vector<std::string> find_corpora(const std::vector<std::string>& inputs) {
  std::vector<std::string> all;
  std::set<std::string> seen;
  for (const std::string& input : inputs) {
    std::error_code error;
    std::vector<std::string> found = {input};
    if (fs::is_directory(input, error)) {
      found = corpora_of_folder(input);
    } else if (input.ends_with(".bin") || input.ends_with(".idx")) {
      found = {input.substr(0, input.size() - 4)};
    }
    for (const std::string& prefix : found) {
      require_both_halves(prefix);
      if (!seen.insert(fs::canonical(prefix + ".idx").string()).second) {
        throw ConfigError(fmt::format(
            "--input: {} comes twice; expected each corpus once. For more weight give it one in --data-path",
            excerpt(prefix, 200)));
      }
      all.push_back(prefix);
    }
  }
  return all;
}

MergeSummary merge_datasets(const MergeOptions& options, const std::function<void(const std::string&)>& progress,
                            const std::atomic<bool>& interrupted) {
  if (options.output_prefix.empty()) throw ConfigError("--output-prefix: expected a name, got an empty one");
  const std::vector<std::string> prefixes = find_corpora(options.inputs);
  std::vector<InputFile> files;
  for (const std::string& prefix : prefixes) files.insert(files.end(), {{prefix + ".bin"}, {prefix + ".idx"}});
  for (const char* half : {".bin", ".idx"}) refuse_input(options.output_prefix + half, files);
  TokenType type = TokenType::u16;
  const std::vector<Member> members = look_at_all(prefixes, type, interrupted);
  MergeSummary sums;
  sums.corpora = std::ssize(members);
  for (const Member& member : members) {
    sums.documents += member.documents;
    sums.sequences += member.sequences;
    sums.tokens += member.tokens;
  }
  make_parent_folder("--output-prefix", options.output_prefix);
  PendingFile bin(options.output_prefix + ".bin"), idx(options.output_prefix + ".idx");
  std::vector<char> buffer(kBufferBytes);
  SteadyClock::time_point told = SteadyClock::now();
  std::int64_t done = 0;
  for (const Member& member : members) {
    copy_tokens(member, member.tokens * item_size(type), buffer, bin, interrupted);
    ++done;
    if (seconds_since(told) < kProgressSeconds) continue;
    progress(fmt::format("joined {} of {} corpora", done, sums.corpora));
    told = SteadyClock::now();
  }
  write_index(members, type, sums, idx);
  bin.publish();
  idx.publish();
  return sums;
}

}  // namespace ringtron
