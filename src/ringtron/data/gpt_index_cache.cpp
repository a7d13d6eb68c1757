#include "ringtron/data/gpt_index_cache.h"

#include <fmt/format.h>

#include <cstring>
#include <string_view>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/data/indexed_dataset_writer.h"

namespace ringtron {
namespace {

constexpr std::uint64_t kMagic = 0x3130584449545052ull;

// All counts in elements. Starts, order, documents and the description follow, in order of alignment.
struct FileHeader {
  std::uint64_t magic = kMagic;
  std::uint64_t checksum = 0;  // of everything after the header
  std::int64_t starts = 0;
  std::int64_t order = 0;
  std::int64_t documents = 0;
  std::int64_t description = 0;
  GptIndexSizes sizes;
};
static_assert(sizeof(FileHeader) == 80 && std::is_trivially_copyable_v<FileHeader>);
static_assert(sizeof(SampleStart) == 16 && std::is_trivially_copyable_v<SampleStart>);

// Chained, so that the writer need not hold the whole file.
std::uint64_t extend(std::uint64_t checksum, std::span<const std::byte> bytes) {
  return hash64(bytes, checksum);
}

template <class T>
std::span<const T> view(std::span<const std::byte> bytes, std::size_t& at, std::int64_t count) {
  const std::span<const T> values(reinterpret_cast<const T*>(bytes.data() + at),
                                  static_cast<std::size_t>(count));
  at += values.size_bytes();
  return values;
}

}  // namespace

std::string describe_gpt_index(const IndexedDataset& corpus, const GptIndexRequest& request, Split split) {
  return fmt::format(
      "GPTDataset index 1\nprefix {}\nindex hash {}\ntokens {}\nsplit {}\nsequences {} {}\nsequence length "
      "{}\nseed {}\n"
      "samples {}\n",
      std::filesystem::absolute(corpus.prefix()).lexically_normal().string(), hex64(corpus.index_hash()),
      corpus.tokens(), split_name(split), request.sequences.begin, request.sequences.end,
      request.sequence_length, request.seed,
      request.samples ? fmt::to_string(*request.samples) : "one epoch");
}

std::filesystem::path gpt_index_path(const std::filesystem::path& folder, const std::string& description,
                                     Split split) {
  return folder / fmt::format("{}-GPTDataset-{}.index", hex64(hash64(description)), split_name(split));
}

std::optional<CachedGptIndex> load_gpt_index(const std::filesystem::path& path,
                                             const std::string& description) {
  if (!std::filesystem::is_regular_file(path)) return std::nullopt;
  CachedGptIndex index{MappedFile(path), {}, {}, {}, {}};
  const auto bytes = index.file.bytes();
  FileHeader header;
  if (bytes.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, bytes.data(), sizeof header);
  const std::int64_t most = static_cast<std::int64_t>(bytes.size());
  for (const std::int64_t count : {header.starts, header.order, header.documents, header.description}) {
    if (count < 0 || count > most) return std::nullopt;
  }
  const std::int64_t expected = static_cast<std::int64_t>(sizeof header) + 16 * header.starts +
                                8 * header.order + 4 * header.documents + header.description;
  if (header.magic != kMagic || most != expected) return std::nullopt;
  std::size_t at = sizeof header;
  index.sizes = header.sizes;
  index.starts = view<SampleStart>(bytes, at, header.starts);
  index.order = view<std::int64_t>(bytes, at, header.order);
  index.documents = view<std::int32_t>(bytes, at, header.documents);
  const auto text = view<char>(bytes, at, header.description);
  std::uint64_t checksum = extend(0, std::as_bytes(index.starts));
  checksum = extend(checksum, std::as_bytes(index.order));
  checksum = extend(checksum, std::as_bytes(index.documents));
  checksum = extend(checksum, std::as_bytes(text));
  if (checksum != header.checksum || std::string_view(text.data(), text.size()) != description)
    return std::nullopt;
  return index;
}

void save_gpt_index(const std::filesystem::path& path, const std::string& description,
                    const GptIndex& index) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error)
    throw IoError(fmt::format("cannot make the folder {}: {}", path.parent_path().string(), error.message()));
  const std::span<const std::byte> parts[] = {
      std::as_bytes(std::span(index.starts)), std::as_bytes(std::span(index.order)),
      std::as_bytes(std::span(index.documents)), std::as_bytes(std::span(description))};
  FileHeader header;
  for (const auto part : parts) header.checksum = extend(header.checksum, part);
  header.starts = static_cast<std::int64_t>(index.starts.size());
  header.order = static_cast<std::int64_t>(index.order.size());
  header.documents = static_cast<std::int64_t>(index.documents.size());
  header.description = static_cast<std::int64_t>(description.size());
  header.sizes = index.sizes;
  const std::string aside = name_aside(path.string());
  try {
    OutputFile file(aside);
    file.write(std::as_bytes(std::span(&header, 1)));
    for (const auto part : parts) file.write(part);
    file.sync();
    file.close();
    std::filesystem::rename(aside, path, error);
    if (error)
      throw IoError(fmt::format("cannot rename {} to {}: {}", aside, path.string(), error.message()));
  } catch (...) {
    std::filesystem::remove(aside, error);
    throw;
  }
}

}  // namespace ringtron
