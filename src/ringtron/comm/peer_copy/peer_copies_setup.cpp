#include "ringtron/comm/peer_copy/peer_copies_setup.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAException.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <exception>
#include <fstream>
#include <thread>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/comm/peer_copy/cuda_peer_memory.h"
#include "ringtron/comm/peer_copy/shared_memory.h"

namespace ringtron {
namespace {

constexpr int kMostRanks = 16;                         // GPUs of the largest machines with NVLink between all of them
constexpr auto kTrialTime = std::chrono::seconds(20);  // a copy of 4 KB

std::string line_of(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

// What this process says of itself, for the others to compare.
struct Place {
  std::string machine;
  int process = 0;
  std::string gpu;  // PCI bus id

  std::string text() const { return fmt::format("{} {} {}", machine, process, gpu); }
};

Place own_place() {
  Place place{.machine = "", .process = ::getpid(), .gpu = ""};
  std::ifstream("/proc/sys/kernel/random/boot_id") >> place.machine;
  RT_CHECK(!place.machine.empty(), "this machine has no boot id");
  std::array<char, 32> bus{};
  C10_CUDA_CHECK(cudaDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), c10::cuda::current_device()));
  place.gpu = bus.data();
  return place;
}

Place parsed(const std::string& text) {
  const std::size_t first = text.find(' ');
  const std::size_t second = text.find(' ', first + 1);
  RT_CHECK(second != std::string::npos, "\"{}\" is no place", text);
  return {text.substr(0, first), std::stoi(text.substr(first + 1, second - first - 1)), text.substr(second + 1)};
}

// Why this rank and a peer cannot; empty if they may try.
std::string unsupported_reason(const Place& own, const Place& peer) {
  if (own.machine != peer.machine) return "its ranks are on several machines";
  if (own.process == peer.process) return "two of its ranks are one process";
  if (own.gpu == peer.gpu) return "two of its ranks share a GPU";
  int device = 0;
  if (cudaDeviceGetByPCIBusId(&device, peer.gpu.c_str()) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return {};  // hidden from this process; the trial tells whether its memory can be reached
  }
  // Atomic operations between GPUs are what NVLink has and PCI Express has not, where copies through the host can be
  // faster.
  int linked = 0;
  C10_CUDA_CHECK(
      cudaDeviceGetP2PAttribute(&linked, cudaDevP2PAttrNativeAtomicSupported, c10::cuda::current_device(), device));
  return linked != 0 ? "" : "no NVLink joins its GPUs";
}

class Setup {
 public:
  Setup(const Group& group, c10d::Store& store, const std::function<void()>& check_peers)
      : group_(group), store_(store), check_peers_(check_peers) {}

  // Empty if all ranks say empty; else the first rank's reason.
  std::string agree(const char* round, const std::string& reason) {
    publish(fmt::format("{}/{}", round, group_.rank), reason.empty() ? "yes" : "no: " + reason);
    std::string first;
    for (int rank = 0; rank < group_.size(); ++rank) {
      const std::string answer = wait_for(fmt::format("{}/{}", round, rank));
      if (first.empty() && answer != "yes") first = answer.substr(4);
    }
    return first;
  }

  void publish(const std::string& key, const std::string& text) {
    store_.set(key, std::vector<std::uint8_t>(text.begin(), text.end()));
  }

  std::string wait_for(const std::string& key) {
    while (!store_.check({key})) {
      check_peers_();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    const std::vector<std::uint8_t> text = store_.get(key);
    return {text.begin(), text.end()};
  }

  std::string places() {
    std::string reason;
    Place own;
    try {
      if (group_.size() > kMostRanks) reason = fmt::format("it has more than {} ranks", kMostRanks);
      own = own_place();
    } catch (const std::exception& error) {
      reason = line_of(error);
    }
    publish(fmt::format("place/{}", group_.rank), own.text());
    for (int rank = 0; rank < group_.size() && reason.empty(); ++rank) {
      if (rank == group_.rank) continue;
      const std::string place = wait_for(fmt::format("place/{}", rank));
      try {
        reason = unsupported_reason(own, parsed(place));
      } catch (const std::exception& error) {
        reason = line_of(error);
      }
    }
    return agree("may", reason);
  }

  // The memory that all ranks share; only of use if all have it.
  std::unique_ptr<SharedMemory> pages(std::string& reason) {
    const std::size_t bytes = SignalPad::bytes_for(group_.size());
    std::unique_ptr<SharedMemory> pages;
    std::string own_reason;
    try {
      if (group_.rank == 0) pages = std::make_unique<SharedMemory>(SharedMemory::make(bytes));
    } catch (const IoError& error) {
      own_reason = line_of(error);
    }
    if (group_.rank == 0) publish("pages", pages ? pages->address() : "");
    const std::string address = wait_for("pages");
    try {
      if (group_.rank != 0) pages = std::make_unique<SharedMemory>(SharedMemory::open(address, bytes));
    } catch (const IoError& error) {
      own_reason = line_of(error);
    }
    reason = agree("pages", own_reason);
    return pages;
  }

  struct Trial {
    std::vector<Send> sends;
    std::vector<Receive> receives;
  };

  // A message to and from every other rank. Empty if all came as they were sent.
  std::string run(Trial& trial, PeerCopies& copies) {
    auto& [sends, receives] = trial;
    const auto options = at::TensorOptions().device(at::kCUDA).dtype(at::kInt);
    const at::Tensor own = at::full({1024}, group_.rank + 1, options);
    for (int rank = 0; rank < group_.size(); ++rank) {
      if (rank == group_.rank) continue;
      sends.push_back({rank, own});
      receives.push_back({rank, at::zeros({1024}, options)});
    }
    const auto end = std::chrono::steady_clock::now() + kTrialTime;
    const auto in_time = [&] {
      check_peers_();
      RT_CHECK(std::chrono::steady_clock::now() < end, "a message did not come");
    };
    const PeerCopies::Ticket ticket = copies.exchange(sends, receives, in_time);
    copies.wait(ticket);
    while (!PeerCopies::has_ended(ticket)) {
      in_time();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    for (const Receive& message : receives) {
      if (!message.tensor.eq(message.peer + 1).all().item<bool>()) return "a message came with other contents";
    }
    return {};
  }

 private:
  const Group& group_;
  c10d::Store& store_;
  const std::function<void()>& check_peers_;
};

}  // namespace

PeerCopiesSetup set_up_peer_copies(const Group& group, c10d::Store& store, const std::function<void()>& check_peers) {
  Setup setup(group, store, check_peers);
  PeerCopiesSetup result;
  result.why_not = setup.places();
  if (!result.why_not.empty()) return result;
  std::unique_ptr<SharedMemory> pages = setup.pages(result.why_not);
  if (!result.why_not.empty()) return result;

  std::string reason;
  try {
    const SignalPad board(pages->data(), group.size());
    result.copies = std::make_unique<PeerCopies>(board, group.rank, make_cuda_peer_memory(std::move(*pages)));
  } catch (const std::exception& error) {
    reason = line_of(error);
  }
  result.why_not = setup.agree("channel", reason);
  auto trial = std::make_unique<Setup::Trial>();
  if (result.why_not.empty()) {
    try {
      reason = setup.run(*trial, *result.copies);
    } catch (const CommError&) {
      result.copies->release();
      throw;
    } catch (const std::exception& error) {
      reason = line_of(error);
    }
    // Whoever waits for this rank's copies need not wait for the time of a trial to run out.
    if (!reason.empty()) result.copies->release();
    result.why_not = setup.agree("trial", reason);
  }
  if (!result.why_not.empty()) {
    if (result.copies) result.copies->release();
    result.copies.reset();
    static_cast<void>(trial.release());  // copies may still be written there
    static_cast<void>(cudaGetLastError());
  }
  return result;
}

}  // namespace ringtron
