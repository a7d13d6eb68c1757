// A member of a Config whose type is a choice, for code that walks all flags and knows no enum.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "ringtron/choices/words.h"

namespace ringtron {

// How to read and print one type of member, made from the table of its words.
struct ChoiceAccess {
  std::span<const std::string_view> words;
  std::string_view (*word)(const void* member);
  bool (*read)(std::string_view word, void* member);
};

namespace internal {

template <class T>
struct AccessOf {};

template <Choice E>
struct AccessOf<E> {
  static std::string_view word(const void* member) { return word_of(*static_cast<const E*>(member)); }
  static bool read(std::string_view word, void* member) {
    const std::optional<E> found = find_choice<E>(word);
    if (found) *static_cast<E*>(member) = *found;
    return found.has_value();
  }
  static constexpr ChoiceAccess access{kWordsOf<E>, word, read};
};

template <Choice E>
struct AccessOf<std::optional<E>> {
  static std::string_view word(const void* member) {
    const auto& value = *static_cast<const std::optional<E>*>(member);
    return value ? word_of(*value) : std::string_view();
  }
  static bool read(std::string_view word, void* member) {
    const std::optional<E> found = find_choice<E>(word);
    if (found || word.empty()) *static_cast<std::optional<E>*>(member) = found;
    return found || word.empty();
  }
  static constexpr ChoiceAccess access{kWordsOf<E>, word, read};
};

}  // namespace internal

// T is a choice, or an optional one.
template <class T>
concept ChoiceMember = requires { internal::AccessOf<T>::access; };

class ChoiceRef {
 public:
  template <ChoiceMember T>
  explicit ChoiceRef(T& member) : member_(&member), access_(&internal::AccessOf<T>::access) {}

  std::span<const std::string_view> words() const { return access_->words; }
  // Empty: an optional choice that is not given.
  std::string_view word() const { return access_->word(member_); }
  // False, and the member is unchanged: no word of the choice. Empty makes an optional choice one that is not given.
  bool read(std::string_view word) const { return access_->read(word, member_); }

  const void* address() const { return member_; }

 private:
  void* member_;
  const ChoiceAccess* access_;
};

}  // namespace ringtron
