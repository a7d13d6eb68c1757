#include "ringtron/tools/document_source.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cstring>
#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/tokenizer/training_text.h"

namespace ringtron {
namespace {

constexpr int kPiece = 1 << 20;
constexpr std::size_t kBinaryTest = 8192;  // a NUL in the first so many bytes marks a binary file

std::string extension_below_gz(std::filesystem::path path) {
  if (path.extension() == ".gz") path.replace_extension();
  return lower(path.extension().string());
}

}  // namespace

// A plain or gzipped file in pieces; zlib reads both alike.
class DocumentSource::Reader {
 public:
  explicit Reader(std::filesystem::path path) : path_(std::move(path)), file_(::gzopen(path_.c_str(), "rb")) {
    if (file_ == nullptr)
      throw IoError(fmt::format("cannot open {}: {}", path_.string(), std::strerror(errno)));
    ::gzbuffer(file_, kPiece);
  }
  ~Reader() { ::gzclose_r(file_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // The next line without its newline; false at the end.
  bool line(std::string& out) {
    out.clear();
    while (true) {
      const std::size_t end = buffer_.find('\n', begin_);
      if (end != std::string::npos) {
        out.append(buffer_, begin_, end - begin_);
        begin_ = end + 1;
        return true;
      }
      out.append(buffer_, begin_);
      if (!fill()) return !out.empty();
    }
  }

  // Everything that is left; false, with a part, if the file is binary and `stop_at_binary` is set.
  bool rest(std::string& out, bool stop_at_binary) {
    out.clear();
    while (fill()) {
      if (stop_at_binary && out.empty() &&
          std::memchr(buffer_.data(), 0, std::min(kBinaryTest, buffer_.size()))) {
        return false;
      }
      out += buffer_;
    }
    return true;
  }

 private:
  // Replaces the buffer by the next piece; false at the end.
  bool fill() {
    begin_ = 0;
    buffer_.resize(kPiece);
    const int count = ::gzread(file_, buffer_.data(), kPiece);
    buffer_.resize(static_cast<std::size_t>(std::max(count, 0)));
    int code = Z_OK;
    const char* message = ::gzerror(file_, &code);
    // At the end of a file that is cut off, gzread() gives what there is and leaves Z_BUF_ERROR behind.
    if (count < 0 || (count < kPiece && code != Z_OK && code != Z_STREAM_END)) {
      throw IoError(fmt::format("cannot read {}: {}. Expected a whole text or gzip file; get it again",
                                path_.string(), code == Z_ERRNO ? std::strerror(errno) : message));
    }
    return count > 0;
  }

  std::filesystem::path path_;
  gzFile file_;
  std::string buffer_;
  std::size_t begin_ = 0;
};

std::vector<InputFile> find_input_files(const std::string& input) {
  std::vector<InputFile> files;
  // A comma may also be part of one existing name.
  const bool one = std::filesystem::exists(input);
  for (const std::string& item : one ? std::vector<std::string>{input} : split(input, ',')) {
    const bool folder = std::filesystem::is_directory(item);
    for (const auto& path : find_text_files(std::span(&item, 1))) {
      const std::string extension = extension_below_gz(path);
      const bool json = folder ? extension == ".jsonl" : extension != ".txt";
      files.push_back({path, json, folder});
    }
  }
  return files;
}

DocumentSource::DocumentSource(std::vector<InputFile> files) : files_(std::move(files)) {}

DocumentSource::~DocumentSource() = default;

bool DocumentSource::next(RawDocument& document) {
  while (at_ < files_.size()) {
    if (files_[at_].json_lines ? next_line(document) : next_file(document)) return true;
  }
  return false;
}

bool DocumentSource::next_line(RawDocument& document) {
  if (!reader_) {
    reader_ = std::make_unique<Reader>(files_[at_].path);
    line_ = 0;
  }
  while (reader_->line(document.text)) {
    ++line_;
    if (trim(document.text).empty()) continue;
    document.file = files_[at_].path.string();
    document.line = line_;
    return true;
  }
  reader_.reset();
  ++at_;
  return false;
}

bool DocumentSource::next_file(RawDocument& document) {
  const InputFile& file = files_[at_++];
  Reader reader(file.path);
  document.file = file.path.string();
  document.line = 0;
  const bool text = reader.rest(document.text, file.from_folder);
  if (!text) ++binary_files_;
  return text;
}

}  // namespace ringtron
