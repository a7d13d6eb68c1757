// The list of multi-rank tests; in a rank process, the loop that runs them.
#include "tests/support/multi_rank.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gtest/gtest-spi.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "ringtron/base/text.h"
#include "ringtron/comm/make_communicator.h"
#include "tests/support/rank_pool.h"

namespace ringtron::testing {
namespace {

constexpr auto kDeadline = std::chrono::seconds(120);
// Operations fail well before the deadline, so that a hang is reported by the rank that hangs.
constexpr auto kOperationTimeout = std::chrono::seconds(60);

std::vector<DistTest>& dist_tests() {
  static std::vector<DistTest> tests;
  return tests;
}

std::atomic<long>& assertions() {
  static std::atomic<long> count = 0;
  return count;
}

int& report_descriptor() {
  static int descriptor = -1;
  return descriptor;
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count <= 0) ::_exit(1);  // the parent is gone
    text.remove_prefix(count);
  }
}

struct RankSettings {
  int rank, command_fd, report_fd, store_port;
};

// One test on this rank: verdict letter and text.
std::pair<char, std::string> run_body(const DistTest& test, const RendezvousOptions& options) {
  const long before = assertions();
  std::string thrown;
  ::testing::TestPartResultArray parts;
  {
    ::testing::ScopedFakeTestPartResultReporter reporter(
        ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &parts);
    try {
      RankContext context(options);
      test.body(context);
    } catch (const std::exception& error) {
      thrown = fmt::format("threw: {}", error.what());
    }
  }
  std::string text;
  bool skipped = false;
  bool failed = !thrown.empty();
  for (int i = 0; i < parts.size(); ++i) {
    const ::testing::TestPartResult& part = parts.GetTestPartResult(i);
    if (part.passed()) continue;
    skipped = skipped || part.skipped();
    failed = failed || part.failed();
    text += fmt::format("{}:{}: {}\n", part.file_name() ? part.file_name() : "?", part.line_number(), part.message());
  }
  text += thrown;
  if (!failed && !skipped && assertions() == before) {
    failed = true;
    text = "the test made no assertion on this rank";
  }
  return {failed ? kFailed : skipped ? kSkipped : kPassed, text};
}

// Runs in a rank process instead of all other tests.
void serve(const RankSettings& settings) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::unsetenv(kRankVariable);  // programs that a test starts are no ranks
  at::set_num_threads(1);
  report_descriptor() = settings.report_fd;
  FILE* commands = ::fdopen(settings.command_fd, "r");
  int number = 0;
  int size = 0;
  char prefix[256];
  while (std::fscanf(commands, "%d %d %255s", &number, &size, prefix) == 3) {
    RendezvousOptions options;
    options.rank = settings.rank;
    options.world_size = size;
    options.port = settings.store_port;
    options.launcher_hosts_store = true;
    options.prefix = prefix;
    options.timeout = kOperationTimeout;
    const auto [verdict, text] = run_body(dist_tests().at(number), options);
    std::fflush(nullptr);
    write_all(settings.report_fd, fmt::format("{}{:08x}{}", verdict, text.size(), text));
  }
  ::_exit(0);  // no GoogleTest summary of a process that is no test run
}

class RankProcess : public ::testing::Test {
 public:
  explicit RankProcess(RankSettings settings) : settings_(settings) {}
  void TestBody() override { serve(settings_); }

 private:
  RankSettings settings_;
};

// The parent hosts the store, so that no port is guessed and any rank may die.
int store_port() {
  static c10::intrusive_ptr<c10d::TCPStore> store = [] {
    c10d::TCPStoreOptions options;
    options.port = 0;
    options.isServer = true;
    options.waitWorkers = false;
    return c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
  }();
  return store->getPort();
}

RankPool& rank_pool() {
  static std::unique_ptr<RankPool> pool;
  if (!pool || !pool->usable()) pool = std::make_unique<RankPool>(store_port());
  return *pool;
}

class DistTestRunner : public ::testing::Test {
 public:
  DistTestRunner(int number, int size) : number_(number), size_(size) {}

  void TestBody() override {
    static int runs = 0;
    const DistTest& test = dist_tests()[number_];
    const DistResult result = rank_pool().run(number_, size_, fmt::format("test_{}", runs++), kDeadline);
    if (std::getenv("RINGTRON_TEST_VERBOSE") != nullptr && result.passed) std::fputs(result.message.c_str(), stdout);
    if (result.skipped) GTEST_SKIP() << result.message;
    if (!result.passed) ADD_FAILURE_AT(test.file, test.line) << "on " << size_ << " ranks:\n" << result.message;
  }

 private:
  int number_;
  int size_;
};

}  // namespace

int count_assertion() {
  ++assertions();
  return 0;
}

bool register_dist_test(const DistTest& test, std::initializer_list<int> rank_counts) {
  dist_tests().push_back(test);
  const int number = static_cast<int>(dist_tests().size()) - 1;
  if (const char* text = std::getenv(kRankVariable)) {
    if (number > 0) return true;
    const std::vector<std::string> parts = split(text, ',');
    const RankSettings settings{std::stoi(parts.at(0)), std::stoi(parts.at(1)), std::stoi(parts.at(2)),
                                std::stoi(parts.at(3))};
    ::testing::RegisterTest("RankProcess", "Serves", nullptr, nullptr, __FILE__, __LINE__,
                            [settings]() -> RankProcess* { return new RankProcess(settings); });
    return true;
  }
  for (const int size : rank_counts) {
    ::testing::RegisterTest(test.suite, fmt::format("{}/{}", test.name, size).c_str(), nullptr, nullptr, test.file,
                            test.line,
                            [number, size]() -> DistTestRunner* { return new DistTestRunner(number, size); });
  }
  return true;
}

RankContext::RankContext(RendezvousOptions options) : options_(std::move(options)) {}
RankContext::~RankContext() = default;

const Rendezvous& RankContext::rendezvous() {
  if (!rendezvous_) rendezvous_ = std::make_unique<Rendezvous>(options_);
  return *rendezvous_;
}

Communicator& RankContext::world() {
  if (!world_) {
    std::vector<int> all(size());
    std::iota(all.begin(), all.end(), 0);
    world_ = make_communicator(Backend::gloo, "world", all, rendezvous());
    meet();
  }
  return *world_;
}

void RankContext::meet() {
  c10d::TCPStoreOptions tcp;
  tcp.port = static_cast<std::uint16_t>(options_.port);
  tcp.waitWorkers = false;
  tcp.timeout = kOperationTimeout;
  c10d::TCPStore store("127.0.0.1", tcp);
  const auto key = [&](int rank) { return fmt::format("{}/meeting_{}/{}", options_.prefix, meetings_, rank); };
  std::vector<std::string> everyone;
  for (int rank = 0; rank < size(); ++rank) everyone.push_back(key(rank));
  store.set(key(rank()), std::vector<std::uint8_t>{1});
  store.wait(everyone, kOperationTimeout);
  ++meetings_;
}

void RankContext::announce_death() { write_all(report_descriptor(), std::string_view(&kDeathAnnounced, 1)); }

}  // namespace ringtron::testing
