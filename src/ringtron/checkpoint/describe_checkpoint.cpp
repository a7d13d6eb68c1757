#include "ringtron/checkpoint/describe_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/shown_message.h"
#include "ringtron/base/text.h"
#include "ringtron/checkpoint/checkpoint_finder.h"
#include "ringtron/checkpoint/lineage_notice.h"
#include "ringtron/checkpoint/load_folder.h"
#include "ringtron/checkpoint/manifest.h"

namespace ringtron {
namespace {

constexpr std::size_t kLongestName = 400;  // as shown

std::uint64_t bytes_of(const TensorEntry& entry) {
  return static_cast<std::uint64_t>(element_count(entry.shape).value_or(0)) * size_of(entry.dtype);
}

// "dim 0: 128 + 128", "whole" for a tensor in one piece, or "5 ranges of elements".
std::string cut_of(const TensorEntry& entry) {
  if (entry.pieces.size() == 1) return "whole";
  if (std::ranges::any_of(entry.pieces, [](const Piece& piece) { return piece.range.has_value(); }))
    return fmt::format("{} ranges of elements", entry.pieces.size());
  constexpr std::size_t kShown = 8;
  std::string text = fmt::format("dim {}:", entry.dim);
  for (std::size_t i = 0; i < std::min(kShown, entry.pieces.size()); ++i) {
    text += fmt::format("{}{}", i == 0 ? " " : " + ", entry.pieces[i].length);
  }
  if (entry.pieces.size() > kShown) text += fmt::format(" + ... ({} pieces)", entry.pieces.size());
  return text;
}

void describe_tensors(const Manifest& manifest, std::string& text) {
  std::size_t name_width = 6, shape_width = 5;
  std::uint64_t bytes = 0, elements = 0;
  for (const auto& [name, entry] : manifest.tensors) {
    name_width = std::max(name_width, excerpt(name, kLongestName).size());
    shape_width = std::max(shape_width, to_string(entry.shape).size());
    bytes += bytes_of(entry);
    elements += static_cast<std::uint64_t>(element_count(entry.shape).value_or(0));
  }
  auto out = std::back_inserter(text);
  fmt::format_to(out, "tensors: {}, {} elements, {}\n", manifest.tensors.size(), elements, human_bytes(bytes));
  fmt::format_to(out, "  {:{}}  {:5}  {:{}}  {}\n", "name", name_width, "type", "shape", shape_width, "cut");
  std::vector<std::pair<std::string, const TensorEntry*>> ordered;
  for (const auto& [name, entry] : manifest.tensors) ordered.emplace_back(name, &entry);
  std::ranges::sort(ordered, [](const auto& a, const auto& b) { return in_layer_order(a.first, b.first); });
  for (const auto& [name, entry] : ordered) {
    fmt::format_to(out, "  {:{}}  {:5}  {:{}}  {}\n", excerpt(name, kLongestName), name_width, name_of(entry->dtype),
                   to_string(entry->shape), shape_width, cut_of(*entry));
  }
}

void describe_lineage(const Manifest& manifest, std::string& text) {
  const Lineage lineage = lineage_of_metadata(manifest.metadata);
  if (lineage.run.empty()) return;
  auto out = std::back_inserter(text);
  fmt::format_to(out, "run: {}, save number {} in its folder", lineage.run, lineage.save);
  if (!lineage.ancestors.empty()) {
    const Ancestor& parent = lineage.ancestors.back();
    fmt::format_to(out, ", went on from iteration {} of {}", parent.iteration,
                   parent.run.empty() ? "a run without lineage" : parent.run);
  }
  text += "\n";
}

}  // namespace

bool in_layer_order(std::string_view a, std::string_view b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto digits = [&](std::string_view text) {
    return static_cast<std::size_t>(std::ranges::find_if_not(text, is_digit) - text.begin());
  };
  while (!a.empty() && !b.empty()) {
    const std::size_t in_a = digits(a), in_b = digits(b);
    if (in_a > 0 && in_b > 0) {
      if (in_a != in_b) return in_a < in_b;
      if (const int order = a.substr(0, in_a).compare(b.substr(0, in_b)); order != 0) return order < 0;
    } else if (a[0] != b[0]) {
      return a[0] < b[0];
    }
    a.remove_prefix(std::max<std::size_t>(in_a, 1));
    b.remove_prefix(std::max<std::size_t>(in_b, 1));
  }
  return a.size() < b.size();
}

std::filesystem::path choose_checkpoint(const std::filesystem::path& folder, std::string& text) {
  std::error_code ignored;
  if (std::filesystem::exists(folder / kManifestName, ignored)) return folder;
  const auto search = search_load_folder(folder, {}, FolderUse::inspect);
  if (!search) throw IoError(fmt::format("{} is absent or empty: it holds no checkpoint", folder.string()));
  for (const auto& candidate : search->damaged) {
    text += fmt::format("iteration {} cannot be loaded: {}\n", candidate.iteration, shown_message(candidate.problem));
  }
  if (const std::string notice = load_notice(folder, *search, FolderUse::inspect); !notice.empty())
    text += shown_message(notice) + "\n";
  if (const std::string notice = tracker_notice(folder, *search, FolderUse::inspect); !notice.empty())
    text += shown_message(notice) + "\n";
  return search->newest->folder;
}

std::string describe_checkpoint(const std::filesystem::path& folder) {
  std::string text;
  const auto chosen = choose_checkpoint(folder, text);
  const Manifest manifest = read_complete_manifest(chosen);
  auto out = std::back_inserter(text);
  fmt::format_to(out, "checkpoint: {}\niteration: {}\nfiles: {}\n", excerpt(chosen.string(), kLongestName),
                 manifest.iteration, manifest.files.size());
  for (const auto& [name, file] : manifest.files)
    fmt::format_to(out, "  {}  {}\n", excerpt(name, kLongestName), human_bytes(file.bytes));
  describe_lineage(manifest, text);
  describe_tensors(manifest, text);
  fmt::format_to(out, "metadata:\n{}\n", manifest.metadata.dump(2));
  return text;
}

}  // namespace ringtron
