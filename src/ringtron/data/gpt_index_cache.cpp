#include "ringtron/data/gpt_index_cache.h"

#include <fmt/format.h>

#include <cstring>
#include <string_view>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
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
std::uint64_t extend(std::uint64_t checksum, std::span<const std::byte> bytes) { return hash64(bytes, checksum); }

template <class T>
std::span<const T> view(std::span<const std::byte> bytes, std::size_t& at, std::int64_t count) {
  const std::span<const T> values(reinterpret_cast<const T*>(bytes.data() + at), static_cast<std::size_t>(count));
  at += values.size_bytes();
  return values;
}

// Points `index` at the arrays in its file. Why it cannot; empty if it did.
std::string read_index(CachedGptIndex& index, const std::string& description) {
  const auto bytes = index.file.bytes();
  FileHeader header;
  if (bytes.size() < sizeof header) return "it is shorter than its header";
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kMagic) return "it is not an index of samples";
  const std::int64_t most = static_cast<std::int64_t>(bytes.size());
  for (const std::int64_t count : {header.starts, header.order, header.documents, header.description}) {
    if (count < 0 || count > most) return "its header is damaged";
  }
  const std::int64_t expected = static_cast<std::int64_t>(sizeof header) + 16 * header.starts + 8 * header.order +
                                4 * header.documents + header.description;
  if (most != expected) return fmt::format("expected {} bytes, it has {}", expected, most);
  std::size_t at = sizeof header;
  index.sizes = header.sizes;
  index.starts = view<SampleStart>(bytes, at, header.starts);
  index.order = view<std::int64_t>(bytes, at, header.order);
  index.documents = view<std::int32_t>(bytes, at, header.documents);
  const auto text = view<char>(bytes, at, header.description);
  index.arrays_hash = hash_arrays(index.starts, index.order, index.documents);
  if (extend(index.arrays_hash, std::as_bytes(text)) != header.checksum) return "its checksum does not match";
  if (std::string_view(text.data(), text.size()) != description) return "it describes other data";
  return "";
}

// A checksum can be forged, or computed over nonsense: what is wrong with the values; empty if nothing is.
std::string fault_in(const CachedGptIndex& index, const IndexedDataset& corpus, const GptIndexRequest& request) {
  const GptIndexSizes expected = gpt_index_sizes(corpus, request);
  if (!(index.sizes == expected)) return "its sizes are not those of the corpus";
  const auto count = [](const auto& values) { return static_cast<std::int64_t>(values.size()); };
  if (count(index.order) != expected.samples || count(index.starts) != expected.samples + 1 ||
      count(index.documents) != expected.epochs * request.sequences.size()) {
    return "its arrays have other lengths than its sizes say";
  }
  for (const std::int32_t document : index.documents) {
    if (document < request.sequences.begin || document >= request.sequences.end) {
      return fmt::format("it names sequence {} of a part [{}, {})", document, request.sequences.begin,
                         request.sequences.end);
    }
  }
  std::int64_t before = 0;
  for (const SampleStart& start : index.starts) {
    const bool inside = start.document >= before && start.document < count(index.documents) && start.offset >= 0;
    // An empty document may be the first.
    const auto length = [&] {
      return corpus.sequence_length(index.documents[static_cast<std::size_t>(start.document)]);
    };
    if (!inside || (start.offset > 0 && start.offset >= length())) {
      return fmt::format("a sample starts in document {} of {}, at token {}", start.document, index.documents.size(),
                         start.offset);
    }
    before = start.document;
  }
  std::vector<bool> seen(index.order.size(), false);
  for (const std::int64_t row : index.order) {
    if (row < 0 || row >= expected.samples || seen[static_cast<std::size_t>(row)]) {
      return fmt::format("its order of {} samples names sample {} twice, or one that is not there", expected.samples,
                         row);
    }
    seen[static_cast<std::size_t>(row)] = true;
  }
  return "";
}

}  // namespace

std::string describe_gpt_index(const IndexedDataset& corpus, const GptIndexRequest& request, Split split) {
  return fmt::format(
      "GPTDataset index 1\nprefix {}\nindex hash {}\ntokens {}\nsplit {}\nsequences {} {}\nsequence length "
      "{}\nseed {}\n"
      "samples {}\n",
      std::filesystem::absolute(corpus.prefix()).lexically_normal().string(), hex64(corpus.index_hash()),
      corpus.tokens(), split_name(split), request.sequences.begin, request.sequences.end, request.sequence_length,
      request.seed, request.samples ? fmt::to_string(*request.samples) : "one epoch");
}

std::filesystem::path gpt_index_path(const std::filesystem::path& folder, const std::string& description, Split split) {
  return folder / fmt::format("{}-GPTDataset-{}.index", hex64(hash64(description)), split_name(split));
}

std::uint64_t hash_arrays(std::span<const SampleStart> starts, std::span<const std::int64_t> order,
                          std::span<const std::int32_t> documents) {
  return extend(extend(extend(0, std::as_bytes(starts)), std::as_bytes(order)), std::as_bytes(documents));
}

CacheLookup load_gpt_index(const std::filesystem::path& path, const std::string& description,
                           const IndexedDataset& corpus, const GptIndexRequest& request) {
  std::error_code error;
  if (!std::filesystem::exists(std::filesystem::symlink_status(path, error))) return {};
  try {
    CachedGptIndex index{GuardedFile(path), {}, 0, {}, {}, {}};
    std::string refused = read_index(index, description);
    if (refused.empty()) refused = fault_in(index, corpus, request);
    index.file.require_whole();
    if (!refused.empty()) return {std::nullopt, std::move(refused)};
    return {std::move(index), ""};
  } catch (const IoError& e) {
    return {std::nullopt, e.what()};
  }
}

void save_gpt_index(const std::filesystem::path& path, const std::string& description, const GptIndex& index) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) throw IoError(fmt::format("cannot make the folder {}: {}", path.parent_path().string(), error.message()));
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
    if (error) throw IoError(fmt::format("cannot rename {} to {}: {}", aside, path.string(), error.message()));
  } catch (...) {
    std::filesystem::remove(aside, error);
    throw;
  }
}

}  // namespace ringtron
