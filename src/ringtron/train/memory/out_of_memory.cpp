#include "ringtron/train/memory/out_of_memory.h"

#include <c10/util/Exception.h>
#include <c10/util/Logging.h>
#include <fmt/format.h>

#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string_view>

#include "ringtron/base/text.h"

namespace ringtron {
namespace {

bool says(const c10::Error& error, std::string_view words) {
  return std::string_view(error.what_without_backtrace()).find(words) != std::string_view::npos;
}

}  // namespace

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  if (of_torch == nullptr) return false;
  for (const char* words : {"can't allocate memory", "Cannot allocate memory", "not enough memory", "out of memory"}) {
    if (says(*of_torch, words)) return true;
  }
  return false;
}

std::string plain_message(const std::exception& error) {
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  return std::string(trim(of_torch != nullptr ? of_torch->what_without_backtrace() : error.what()));
}

std::string allocation_asked_for(const std::exception& error) {
  const std::string text = plain_message(error);
  // On the CPU a number of bytes, on a GPU "Tried to allocate 20.00 GiB. GPU 0 has a total capacity of ...".
  for (const std::string_view before : {"tried to allocate ", "Tried to allocate "}) {
    const auto found = text.find(before);
    if (found == std::string::npos) continue;
    const std::string rest = text.substr(found + before.size());
    std::size_t used = 0;
    unsigned long long bytes = 0;
    try {
      bytes = std::stoull(rest, &used);
    } catch (const std::exception&) {
      break;
    }
    if (std::string_view(rest).substr(used).starts_with(" bytes")) return human_bytes(bytes) + " more were asked for";
    return rest.substr(0, rest.find(". ")) + " more were asked for";
  }
  return "the system gave no more";
}

void disable_stack_traces() {
  const char* wanted = std::getenv("TORCH_SHOW_CPP_STACKTRACES");
  if (wanted != nullptr && std::string_view(wanted) == "1") return;
  c10::SetStackTraceFetcher(std::function<std::string()>([] { return std::string(); }));
}

void rethrow_readable(const std::string& breakdown) {
  try {
    throw;
  } catch (const OutOfMemory&) {
    throw;
  } catch (const std::exception& error) {
    if (is_out_of_memory(error)) {
      throw OutOfMemory(fmt::format("out of memory: {}. {}", allocation_asked_for(error), breakdown));
    }
    if (dynamic_cast<const c10::Error*>(&error) != nullptr) throw std::runtime_error(plain_message(error));
    throw;
  }
}

}  // namespace ringtron
