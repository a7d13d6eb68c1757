#include "ringtron/tools/document_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {
namespace {

constexpr std::size_t kLongest = (std::size_t{1} << 31) - 1;  // bytes of a line or an uncut text
constexpr std::size_t kPiece = std::size_t{4} << 20;
constexpr std::size_t kBinaryTest = 8192;  // a NUL in the first so many bytes marks a binary file
constexpr std::int64_t kPassedOverTold = 5;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

std::string extension_below_compression(std::filesystem::path path) {
  const std::string last = lower(path.extension().string());
  if (last == ".gz" || last == ".bz2" || last == ".zst") path.replace_extension();
  return lower(path.extension().string());
}

std::string shown(const std::string& path) { return path == "-" ? "standard input" : excerpt(path, 400); }

std::string_view behind(std::string_view text, const char* space) {
  const std::size_t at = text.find_first_not_of(space);
  return at == std::string_view::npos ? std::string_view() : text.substr(at);
}

// Whether `head` begins like a line with a JSON object.
bool begins_object(std::string_view head) {
  const std::string_view start = behind(head, " \t\r\n");
  if (!start.starts_with('{')) return false;
  const std::string_view member = behind(start.substr(1), " \t");
  return member.starts_with('"') || member.starts_with('}');
}

// What a file is by its name and first bytes.
enum class Kind { json_lines, text, other_json, binary, utf16, utf32 };

Kind kind_of(const std::string& path, std::string_view head) {
  using namespace std::string_view_literals;
  // UTF-32's mark begins with UTF-16's.
  if (head.starts_with("\xff\xfe\0\0"sv) || head.starts_with("\0\0\xfe\xff"sv)) return Kind::utf32;
  if (head.starts_with("\xff\xfe") || head.starts_with("\xfe\xff")) return Kind::utf16;
  if (head.starts_with(kByteOrderMark)) head.remove_prefix(kByteOrderMark.size());
  const std::string extension = extension_below_compression(path);
  if (extension == ".jsonl" || extension == ".ndjson") return Kind::json_lines;
  if (extension != ".txt" && begins_object(head)) return Kind::json_lines;
  const std::string_view start = behind(head, " \t\r\n");
  if (extension == ".json")
    return start.starts_with('[') || start.starts_with('{') ? Kind::other_json : Kind::json_lines;
  return std::memchr(head.data(), 0, std::min(kBinaryTest, head.size())) != nullptr ? Kind::binary : Kind::text;
}

bool is_graphic(char c) { return c > ' ' && c <= '~'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The end of the first piece of `text`, at least kPiece long, where pre_tokenizer.h cuts in any case: behind a newline
// alone between visible characters, or before a blank alone between letters. Looks from `begin` on; npos if there is no
// such place.
std::size_t piece_end(std::string_view text, std::size_t begin) {
  for (std::size_t i = std::max(kPiece, begin); i + 1 < text.size(); ++i) {
    if (text[i] == '\n' && is_graphic(text[i - 1]) && is_graphic(text[i + 1])) return i + 1;
    if (text[i] == ' ' && is_letter(text[i - 1]) && is_letter(text[i + 1])) return i;
  }
  return std::string_view::npos;
}

}  // namespace

// One file as lines or as text.
class DocumentSource::Reader {
 public:
  Reader(const std::string& path, const ReadContext& context) : path_(path), bytes_(path, context) {
    buffer_ = bytes_.next();
    kind_ = kind_of(path, buffer_);
    if (buffer_.starts_with(kByteOrderMark)) buffer_.remove_prefix(kByteOrderMark.size());
    like_json_ = begins_object(buffer_);
  }

  Kind kind() const { return kind_; }
  bool like_json() const { return like_json_; }

  bool line(RawDocument& document) {
    while (cut_line(document)) {
      ++number_;
      if (document.fault.empty() && trim(document.text).empty()) continue;
      document.file = path_;
      document.line = number_;
      document.continues = false;
      return true;
    }
    return false;
  }

  // The text, or its next piece; false when there is no more.
  bool text(RawDocument& document, bool pieces) {
    if (ended_) return false;
    std::string& text = document.text;
    text = std::move(kept_);
    kept_.clear();
    document.continues = false;
    std::size_t searched = 0;
    while (!document.continues) {
      text += std::exchange(buffer_, {});
      const std::size_t end = pieces ? piece_end(text, searched) : std::string_view::npos;
      if (end != std::string_view::npos) {
        kept_ = text.substr(end);
        text.resize(end);
        document.continues = true;
      } else {
        searched = std::max<std::size_t>(text.size(), 1) - 1;
        if (text.size() > kLongest) {
          throw ConfigError(
              fmt::format("{}: expected a text of less than 2 GiB, or one that can be cut between words", path_));
        }
        buffer_ = bytes_.next();
        if (buffer_.empty()) break;
      }
    }
    ended_ = !document.continues;
    document.file = path_;
    document.line = 0;
    document.fault.clear();
    return true;
  }

 private:
  // The next line without its end; false at the end of the file.
  bool cut_line(RawDocument& document) {
    document.text.clear();
    document.fault.clear();
    std::size_t length = 0;
    while (true) {
      if (buffer_.empty()) buffer_ = bytes_.next();
      if (buffer_.empty()) break;
      if (std::exchange(after_return_, false) && buffer_.front() == '\n') {
        buffer_.remove_prefix(1);
        continue;
      }
      const std::size_t newline = std::min(buffer_.find('\n'), buffer_.size());
      const std::size_t end = std::min(buffer_.substr(0, newline).find('\r'), newline);
      length += end;
      if (length <= kLongest) document.text.append(buffer_, 0, end);
      if (end == buffer_.size()) {
        buffer_ = {};
        continue;
      }
      after_return_ = buffer_[end] == '\r';
      buffer_.remove_prefix(end + 1);
      return finish_line(document, length);
    }
    return length > 0 && finish_line(document, length);
  }

  static bool finish_line(RawDocument& document, std::size_t length) {
    if (length > kLongest) {
      document.fault = fmt::format("expected a line of less than 2 GiB, got {}", human_bytes(length));
      std::string().swap(document.text);
    }
    return true;
  }

  std::string path_;
  ByteSource bytes_;
  std::string_view buffer_;  // of what bytes_ gave, what is not used yet
  Kind kind_;
  bool like_json_ = false;
  std::int64_t number_ = 0;
  bool after_return_ = false;  // a line has ended with \r; \n belongs to it
  std::string kept_;           // behind the last piece
  bool ended_ = false;
};

DocumentSource::DocumentSource(std::vector<InputFile> files, SourceOptions options, const ReadContext& context)
    : files_(std::move(files)), options_(options), context_(context) {}

DocumentSource::~DocumentSource() = default;

bool DocumentSource::pass_over(const InputFile& file, const std::string& why) {
  if (!file.from_folder) throw ConfigError(fmt::format("--input {}: {}", shown(file.path), why));
  if (++passed_over_ <= kPassedOverTold) context_.notice(fmt::format("{} is left out: {}", shown(file.path), why));
  return false;
}

// A line where the reading may not be what was meant.
void DocumentSource::tell_text(const InputFile& file, const Reader& reader) const {
  if (file.from_folder) return;
  if (extension_below_compression(file.path) != ".txt") {
    context_.notice(
        fmt::format("{} is read as one document of plain text: its name does not end in .jsonl, and it does not "
                    "begin with {{\"",
                    shown(file.path)));
  } else if (reader.like_json()) {
    context_.notice(
        fmt::format("{} is read as one document of plain text, since its name ends in .txt; it looks like JSON "
                    "lines: if it is, name it .jsonl",
                    shown(file.path)));
  }
}

bool DocumentSource::open_next() {
  const InputFile& file = files_[at_++];
  auto reader = std::make_unique<Reader>(file.path, context_);
  switch (reader->kind()) {
    case Kind::utf16:
      return pass_over(file, "expected UTF-8, got UTF-16. Convert it: iconv -f UTF-16 -t UTF-8 FILE");
    case Kind::utf32:
      return pass_over(file, "expected UTF-8, got UTF-32. Convert it: iconv -f UTF-32 -t UTF-8 FILE");
    case Kind::binary:
      return pass_over(file, "expected text, got a binary file (a zero byte among the first 8192)");
    case Kind::other_json:
      return pass_over(file,
                       "expected one JSON object on each line, got another form of JSON. Convert it: jq -c . FILE, "
                       "or jq -c '.[]' FILE for a list of documents");
    case Kind::text:
      tell_text(file, *reader);
      break;
    case Kind::json_lines:
      break;
  }
  reader_ = std::move(reader);
  return true;
}

std::string place_of(const RawDocument& document) {
  return document.line > 0 ? fmt::format("{}:{}", shown(document.file), document.line) : shown(document.file);
}

bool DocumentSource::next(RawDocument& document) {
  while (true) {
    if (!reader_) {
      if (at_ == files_.size()) return false;
      if (!open_next()) continue;
    }
    const bool lines = reader_->kind() == Kind::json_lines;
    if (lines ? reader_->line(document) : reader_->text(document, options_.pieces)) return true;
    reader_.reset();
  }
}

}  // namespace ringtron
