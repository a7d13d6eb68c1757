#include "ringtron/train/agreement.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/process.h"
#include "ringtron/base/text.h"
#include "ringtron/train/memory/out_of_memory.h"
#include "ringtron/train/reported_error.h"

namespace ringtron {
namespace {

std::map<std::string, std::string> options_of(const std::string& text) {
  std::map<std::string, std::string> out;
  for (const std::string& line : split(text, '\n')) {
    const auto equals = line.find('=');
    if (equals != std::string::npos) out[line.substr(0, equals)] = line.substr(equals + 1);
  }
  return out;
}

std::string differences(const std::string& expected, const std::string& got) {
  const auto a = options_of(expected), b = options_of(got);
  std::string out;
  for (const auto& [name, value] : a) {
    const auto other = b.find(name);
    if (other == b.end()) {
      out += fmt::format("\n    {}: {} on rank 0, absent there", name, value);
    } else if (other->second != value) {
      out += fmt::format("\n    {}: {} on rank 0, {} there", name, value, other->second);
    }
  }
  for (const auto& [name, value] : b) {
    if (!a.contains(name)) out += fmt::format("\n    {}: absent on rank 0, {} there", name, value);
  }
  return out;
}

constexpr int kListed = 3;  // ranks that have other data

// Host first, then "prefix=line" for each corpus.
std::string text_of(const std::map<std::string, std::string>& data) {
  std::string text = host_name() + "\n";
  for (const auto& [prefix, line] : data) {
    text += fmt::format("{}: {}\n", std::filesystem::absolute(prefix).lexically_normal().string(), line);
  }
  return text;
}

std::string without_host(const std::string& text) { return text.substr(text.find('\n') + 1); }

// Corpora lie in one order in both; paths may differ, content may not.
std::string difference(const std::string& mine, const std::string& usual, std::size_t usual_rank) {
  const auto a = split(without_host(mine), '\n'), b = split(without_host(usual), '\n');
  const auto content = [](const std::string& line) { return line.substr(std::min(line.size(), line.find(": ") + 2)); };
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    const std::string here = i < a.size() ? a[i] : "nothing", there = i < b.size() ? b[i] : "nothing";
    if (content(here) != content(there)) {
      return fmt::format("\n    {}\n    rank {}: {}", here, usual_rank, there);
    }
  }
  return "";
}

// The same corpora by content, whatever folders they lie in.
std::uint64_t hash_of(const std::map<std::string, std::string>& data) {
  std::uint64_t hash = 0;
  for (const auto& [prefix, line] : data) hash = hash64(line, hash);
  return hash;
}

// The rank whose data most ranks have; of equals the first.
std::size_t usual_rank(const std::vector<std::string>& hashes) {
  std::size_t best = 0;
  std::ptrdiff_t most = 0;
  for (std::size_t r = 0; r < hashes.size(); ++r) {
    const auto count = std::count(hashes.begin(), hashes.end(), hashes[r]);
    if (count > most) {
      most = count;
      best = r;
    }
  }
  return best;
}

template <class Error>
class Reported final : public Error, public ReportedElsewhere {
 public:
  using Error::Error;
};

template <class Error>
[[noreturn]] void raise(const std::string& message, bool reported) {
  if (reported) throw Reported<Error>(message);
  throw Error(message);
}

}  // namespace

std::int64_t agree_max(Communicator& world, std::int64_t value) {
  if (world.size() == 1) return value;
  at::Tensor t = at::full({1}, value, at::kLong);
  world.all_reduce(t, ReduceOp::max).wait();
  return t.item<std::int64_t>();
}

std::vector<std::string> gather_texts(Communicator& world, const std::string& text) {
  if (world.size() == 1) return {text};
  // Lengths ride in the first eight bytes; all texts are padded to the longest.
  const std::int64_t longest = agree_max(world, static_cast<std::int64_t>(text.size()));
  const std::int64_t width = longest + 8;
  at::Tensor own = at::zeros({width}, at::kByte);
  const std::int64_t length = static_cast<std::int64_t>(text.size());
  std::memcpy(own.data_ptr<std::uint8_t>(), &length, 8);
  std::memcpy(own.data_ptr<std::uint8_t>() + 8, text.data(), text.size());
  at::Tensor whole = at::empty({width * world.size()}, own.options());
  world.all_gather(own, whole).wait();
  std::vector<std::string> out;
  for (int r = 0; r < world.size(); ++r) {
    const std::uint8_t* data = whole.data_ptr<std::uint8_t>() + r * width;
    std::int64_t size = 0;
    std::memcpy(&size, data, 8);
    out.emplace_back(reinterpret_cast<const char*>(data + 8), static_cast<std::size_t>(size));
  }
  return out;
}

void require_same_options(Communicator& world, const std::string& text) {
  require_same_facts(world, text,
                     "the ranks were started with different options. Start all of them with the same command line.");
}

void require_same_facts(Communicator& world, const std::string& text, const std::string& fault) {
  const auto texts = gather_texts(world, text);
  std::string faults;
  int listed = 0;
  for (std::size_t r = 1; r < texts.size() && listed < 3; ++r) {
    if (texts[r] == texts[0]) continue;
    faults += fmt::format("\n  rank {}:{}", r, differences(texts[0], texts[r]));
    ++listed;
  }
  if (!faults.empty()) raise<ConfigError>(fault + faults, world.rank() != 0);
}

void require_same_data(Communicator& world, const std::map<std::string, std::string>& data) {
  // One number of each rank, as long as all is well.
  const auto own = static_cast<std::int64_t>(hash_of(data) >> 1);
  if (agree_max(world, own) == -agree_max(world, -own)) return;
  const std::vector<std::string> hashes = gather_texts(world, hex64(hash_of(data)));
  const std::vector<std::string> texts = gather_texts(world, text_of(data));
  const std::size_t usual = usual_rank(hashes);
  std::string faults;
  int listed = 0;
  for (std::size_t r = 0; r < texts.size() && listed < kListed; ++r) {
    if (hashes[r] == hashes[usual]) continue;
    faults +=
        fmt::format("\n  rank {} on {}:{}", r, split(texts[r], '\n')[0], difference(texts[r], texts[usual], usual));
    ++listed;
  }
  const std::string message = fmt::format(
      "data: not all ranks have the same data; the files differ in content or in the order made of them. Copy the corpus "
      "anew to the hosts named (and delete its cache folder there).{}",
      faults);
  run_collectively(world, [&] {
    if (world.rank() == 0) throw ConfigError(message);
  });
}

namespace internal {

void rethrow(Failure failure, const std::string& message, bool reported) {
  switch (failure) {
    case Failure::config:
      raise<ConfigError>(message, reported);
    case Failure::io:
      raise<IoError>(message, reported);
    case Failure::comm:
      raise<CommError>(message, reported);
    case Failure::memory:
      raise<OutOfMemory>(message, reported);
    default:
      raise<InternalError>(message, reported);
  }
}

std::string describe_current_exception(Failure& failure) {
  try {
    throw;
  } catch (const ConfigError& e) {
    failure = Failure::config;
    return e.what();
  } catch (const CommError& e) {
    failure = Failure::comm;
    return e.what();
  } catch (const IoError& e) {
    failure = Failure::io;
    return e.what();
  } catch (const std::exception& e) {
    failure = is_out_of_memory(e) ? Failure::memory : Failure::internal;
    const bool told = failure == Failure::internal || dynamic_cast<const OutOfMemory*>(&e) != nullptr;
    return told ? plain_message(e) : fmt::format("out of memory: {}", allocation_asked_for(e));
  }
}

std::int64_t share_outcome(Communicator& world, std::int64_t reason, Failure failure, const std::string& message) {
  constexpr std::int64_t kKinds =
      8;  // above every Failure: one number says both, and a reason is larger than any failure
  const std::int64_t agreed = agree_max(world, reason > 0 ? reason * kKinds : static_cast<std::int64_t>(failure));
  if (agreed == 0 || agreed >= kKinds) return agreed / kKinds;
  const auto texts = gather_texts(world, fmt::format("{}{}", static_cast<int>(failure), message));
  for (std::size_t r = 0; r < texts.size(); ++r) {
    if (texts[r][0] == '0') continue;
    // The first rank that failed reports; all others keep quiet and end with the same exit code.
    rethrow(static_cast<Failure>(texts[r][0] - '0'), fmt::format("rank {}: {}", r, texts[r].substr(1)),
            static_cast<int>(r) != world.rank());
  }
  return 0;
}

}  // namespace internal

}  // namespace ringtron
