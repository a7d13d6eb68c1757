// The Unigram of tokenizer.json: the tokens of the greatest sum of scores, by dynamic programming over the word.
#include <algorithm>
#include <limits>

#include "ringtron/base/text.h"
#include "ringtron/tokenizer/byte_to_unicode.h"
#include "ringtron/tokenizer/pipeline/utf8.h"
#include "ringtron/tokenizer/pipeline/word_model.h"

namespace ringtron {
namespace {

constexpr double kUnknownPenalty = 10;  // below the worst score of the vocabulary
constexpr std::int32_t kNone = -1;

struct ScoredToken {
  std::string text;
  double score;
};

// The tokens that begin a text, by a tree of bytes.
class TokenTree {
 public:
  explicit TokenTree(const TokenIds& ids) {
    std::vector<std::pair<std::string_view, std::int32_t>> sorted(ids.begin(), ids.end());
    for (const auto& [text, id] : sorted) {
      std::uint64_t node = 0;
      for (const char c : text) node = child_or_new(node, static_cast<unsigned char>(c));
      id_[node] = id;
    }
  }

  // Calls visit(length, id) on each token that `text` begins with, the shortest first.
  template <class Visitor>
  void for_each_prefix(std::string_view text, Visitor&& visit) const {
    std::uint64_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto found = child_.find(node << 8 | static_cast<unsigned char>(text[i]));
      if (found == child_.end()) return;
      node = found->second;
      if (id_[node] != kNone) visit(i + 1, id_[node]);
    }
  }

 private:
  std::uint64_t child_or_new(std::uint64_t node, unsigned char byte) {
    const auto [place, is_new] = child_.try_emplace(node << 8 | byte, id_.size());
    if (is_new) id_.push_back(kNone);
    return place->second;
  }

  std::unordered_map<std::uint64_t, std::uint64_t> child_;  // of node x 256 + byte
  std::vector<std::int32_t> id_ = {kNone};                  // of each node; 0 is the root
};

class Unigram final : public WordModel {
 public:
  Unigram(TokenIds ids, std::vector<double> scores, std::int32_t unknown, bool byte_fallback, bool in_byte_alphabet)
      : WordModel(std::move(ids)),
        tree_(vocabulary()),
        scores_(std::move(scores)),
        unknown_(unknown),
        byte_fallback_(byte_fallback),
        in_byte_alphabet_(in_byte_alphabet) {
    if (!scores_.empty()) unknown_score_ = *std::min_element(scores_.begin(), scores_.end()) - kUnknownPenalty;
  }

  void append_ids(std::string_view word, std::vector<std::int32_t>& ids) const override {
    if (in_byte_alphabet_) {
      append_best(printable_from_bytes(word), ids);
    } else {
      append_best(word, ids);
    }
  }

 private:
  struct End {                                   // of the best way to a place
    std::size_t begin = std::string_view::npos;  // of its last token
    double score = 0;
    std::int32_t id = kNone;
    bool reached() const { return begin != std::string_view::npos; }
  };

  void append_best(std::string_view word, std::vector<std::int32_t>& ids) const {
    const std::vector<End> ends = best_ends(word);
    std::vector<std::string_view> pieces;  // from the last to the first; unknown ones side by side are one
    bool unknown_behind = false;
    for (std::size_t end = word.size(); end > 0; end = ends[end].begin) {
      const bool unknown = ends[end].id == unknown_;
      const std::string_view piece = word.substr(ends[end].begin, end - ends[end].begin);
      if (unknown && unknown_behind) {
        pieces.back() = {piece.data(), piece.size() + pieces.back().size()};
      } else {
        pieces.push_back(piece);
      }
      unknown_behind = unknown;
    }
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) append_piece(*piece, ids);
  }

  std::vector<End> best_ends(std::string_view word) const {
    std::vector<End> ends(word.size() + 1);
    const auto offer = [&](std::size_t begin, std::size_t end, double score, std::int32_t id) {
      if (!ends[end].reached() || score > ends[end].score) ends[end] = {begin, score, id};
    };
    for (std::size_t begin = 0; begin < word.size();) {
      const double so_far = ends[begin].score;
      const std::size_t length = utf8_length(word[begin]);
      bool single = false;
      tree_.for_each_prefix(word.substr(begin), [&](std::size_t size, std::int32_t id) {
        offer(begin, begin + size, scores_[id] + so_far, id);
        single = single || size == length;
      });
      if (!single) offer(begin, begin + length, unknown_score_ + so_far, unknown_);
      begin += length;
    }
    return ends;
  }

  void append_piece(std::string_view piece, std::vector<std::int32_t>& ids) const {
    if (const auto found = vocabulary().find(piece); found != vocabulary().end()) {
      ids.push_back(found->second);
      return;
    }
    const auto bytes = byte_fallback_ ? byte_tokens(piece) : std::vector<std::int32_t>();
    ids.insert(ids.end(), bytes.begin(), bytes.end());
    if (bytes.empty()) ids.push_back(unknown_);
  }

  TokenTree tree_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  std::int32_t unknown_;
  bool byte_fallback_, in_byte_alphabet_;
};

}  // namespace

std::unique_ptr<WordModel> make_unigram_model(const JsonPart& json, bool byte_level) {
  TokenIds ids;
  std::vector<double> scores;
  for (const JsonPart& part : json.items("vocab")) {
    const auto& item = part.value();
    if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_number()) {
      part.refuse("expected [token, score]");
    }
    ids[item[0].get<std::string>()] = static_cast<std::int32_t>(scores.size());  // of one that comes twice the last
    scores.push_back(item[1].get<double>());
  }
  const std::int64_t unknown = json.number_or("unk_id", kNone);
  if (unknown < 0 || unknown >= static_cast<std::int64_t>(scores.size())) {
    json.refuse("expected an unk_id of the vocabulary: without one some texts have no ids");
  }
  return std::make_unique<Unigram>(std::move(ids), std::move(scores), static_cast<std::int32_t>(unknown),
                                   json.flag_or("byte_fallback", false), byte_level);
}

}  // namespace ringtron
