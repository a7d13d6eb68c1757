#include "ringtron/tokenizer/sentencepiece_tokenizer.h"

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include <algorithm>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/hash.h"

namespace ringtron {
namespace {

void require(const sentencepiece::util::Status& status, std::string_view what) {
  if (!status.ok()) throw ConfigError(fmt::format("sentencepiece: {}: {}", what, status.ToString()));
}

// A model's own piece of an id that it may lack.
std::string piece_or(const sentencepiece::SentencePieceProcessor& model, int id, const char* otherwise) {
  return id >= 0 ? model.IdToPiece(id) : otherwise;
}

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(TokenizerType type, const std::filesystem::path& model,
                                               std::int64_t extra_ids)
    : type_(type), model_(std::make_unique<sentencepiece::SentencePieceProcessor>()), extra_ids_(extra_ids) {
  std::string bytes;
  try {
    bytes = read_file(model);
  } catch (const IoError& error) {
    throw ConfigError(fmt::format("--tokenizer-model: {}. Give the tokenizer.model of the tokenizer", error.what()));
  }
  if (const auto status = model_->LoadFromSerializedProto(bytes); !status.ok() || model_->GetPieceSize() == 0) {
    throw ConfigError(
        fmt::format("--tokenizer-model {}: expected a SentencePiece model, got something else ({}). "
                    "Is it the tokenizer.model of the tokenizer?",
                    model.string(), status.ok() ? "it has no pieces" : status.ToString()));
  }
  content_ = hash64(bytes);
  vocab_size_ = model_->GetPieceSize();
  begin_ = model_->bos_id();
  eod_ = model_->eos_id();
  if (type == TokenizerType::sentencepiece) {
    for (const char* piece : {"<CLS>", "<SEP>", "<EOD>", "<MASK>"}) add_special(piece);
    add_special(piece_or(*model_, model_->pad_id(), "<PAD>"));
    add_special(piece_or(*model_, model_->bos_id(), "<BOS>"));
    add_special(piece_or(*model_, model_->eos_id(), "<EOS>"));
    for (std::int64_t i = 0; i < extra_ids; ++i) add_special(fmt::format("<extra_id_{}>", i));
    eod_ = special_.at("<EOD>");
    return;
  }
  const auto missing = [&](const char* what) {
    return ConfigError(fmt::format("--tokenizer-model {}: the model has no {} piece, which {} needs", model.string(),
                                   what, word_of(type)));
  };
  if (eod_ < 0) throw missing("end (eos)");
  if (type == TokenizerType::llama2 && begin_ < 0) throw missing("begin (bos)");
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

void SentencePieceTokenizer::add_special(const std::string& piece) {
  if (special_.contains(piece)) return;
  const int own = model_->PieceToId(piece);
  const bool known = !model_->IsUnknown(own) || model_->IdToPiece(own) == piece;
  const auto id = known ? static_cast<std::int32_t>(own) : static_cast<std::int32_t>(vocab_size_++);
  special_.emplace(piece, id);
  special_pieces_.emplace(id, piece);
  in_order_.push_back(piece);
}

void SentencePieceTokenizer::append(std::string_view text, std::vector<std::int32_t>& ids) const {
  std::vector<int> own;
  require(model_->Encode({text.data(), text.size()}, &own), "cannot take a text apart");
  ids.insert(ids.end(), own.begin(), own.end());
}

std::vector<std::int32_t> SentencePieceTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  if (type_ == TokenizerType::llama2) ids.push_back(begin_);
  // The leftmost special piece, of several there the first in order.
  while (type_ == TokenizerType::sentencepiece) {
    std::size_t at = std::string_view::npos;
    const std::string* found = nullptr;
    for (const std::string& piece : in_order_) {
      const std::size_t place = text.find(piece);
      if (place == std::string_view::npos || place >= at) continue;
      at = place;
      found = &piece;
    }
    if (found == nullptr) break;
    append(text.substr(0, at), ids);
    ids.push_back(special_.find(*found)->second);
    text.remove_prefix(at + found->size());
  }
  append(text, ids);
  return ids;
}

std::string SentencePieceTokenizer::decoded(std::span<const std::int32_t> ids) const {
  std::string text;
  require(model_->Decode(std::vector<int>(ids.begin(), ids.end()), &text), "cannot decode ids");
  return text;
}

std::string SentencePieceTokenizer::decode(std::span<const std::int32_t> ids) const {
  for (const std::int32_t id : ids) {
    if (id >= 0 && id < vocab_size_) continue;
    throw ConfigError(fmt::format("{}: expected ids from 0 to {}, got {}. Was the data made with another tokenizer?",
                                  word_of(type_), vocab_size_ - 1, id));
  }
  std::string text;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto special = special_pieces_.find(ids[i]);
    if (special == special_pieces_.end()) continue;
    text += decoded(ids.subspan(begin, i - begin)) + " " + special->second + " ";
    begin = i + 1;
  }
  return text + decoded(ids.subspan(begin));
}

std::string SentencePieceTokenizer::description() const {
  return fmt::format("{} model={} vocab_size={} extra_ids={}", word_of(type_), hex64(content_), vocab_size_,
                     extra_ids_);
}

}  // namespace ringtron
