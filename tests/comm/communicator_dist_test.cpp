// Every operation on Gloo, for each size of group and type of element.
#include <ATen/ATen.h>

#include "tests/support/multi_rank.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

const at::ScalarType kTypes[] = {at::kDouble, at::kFloat, at::kBFloat16, at::kLong};
const std::int64_t kLengths[] = {0, 1, 7, 1000};

// What rank `rank` contributes: small integers, so that sums are exact in every type.
at::Tensor contribution(int rank, std::int64_t length, at::ScalarType type) {
  return (at::arange(length) % 5 + rank).to(type);
}

at::Tensor total(int size, std::int64_t length, at::ScalarType type) {
  at::Tensor sum = at::zeros({length}, type);
  for (int rank = 0; rank < size; ++rank) sum += contribution(rank, length, type);
  return sum;
}

DIST_TEST(Communicator, AllReduce, 1, 2, 3, 4) {
  for (const at::ScalarType type : kTypes) {
    for (const std::int64_t length : kLengths) {
      at::Tensor x = contribution(ranks.rank(), length, type);
      ranks.world().all_reduce(x).wait();
      EXPECT_TENSOR_EQUAL(x, total(ranks.size(), length, type));
      at::Tensor highest = contribution(ranks.rank(), length, type);
      ranks.world().all_reduce(highest, ReduceOp::max).wait();
      EXPECT_TENSOR_EQUAL(highest, contribution(ranks.size() - 1, length, type));
      at::Tensor lowest = contribution(ranks.rank(), length, type);
      ranks.world().all_reduce(lowest, ReduceOp::min).wait();
      EXPECT_TENSOR_EQUAL(lowest, contribution(0, length, type));
    }
  }
}

DIST_TEST(Communicator, AllGather, 1, 2, 3, 4) {
  for (const at::ScalarType type : kTypes) {
    for (const std::int64_t length : kLengths) {
      at::Tensor whole = at::zeros({ranks.size() * length}, type);
      ranks.world().all_gather(contribution(ranks.rank(), length, type), whole).wait();
      std::vector<at::Tensor> parts;
      for (int rank = 0; rank < ranks.size(); ++rank) parts.push_back(contribution(rank, length, type));
      EXPECT_TENSOR_EQUAL(whole, at::cat(parts));
    }
  }
}

DIST_TEST(Communicator, ReduceScatter, 1, 2, 3, 4) {
  for (const at::ScalarType type : kTypes) {
    for (const std::int64_t length : kLengths) {
      const std::int64_t whole = length * ranks.size();
      at::Tensor shard = at::zeros({length}, type);
      ranks.world().reduce_scatter(contribution(ranks.rank(), whole, type), shard).wait();
      EXPECT_TENSOR_EQUAL(shard, total(ranks.size(), whole, type).narrow(0, length * ranks.rank(), length));
    }
  }
}

DIST_TEST(Communicator, UlyssesAllToAll, 1, 2, 3, 4) {
  for (const at::ScalarType type : kTypes) {
    for (const std::int64_t length : kLengths) {
      const int size = ranks.size();
      // Element k of the slice from rank a to rank b is 100 a + 10 b + k % 3.
      const auto slice = [&](int from, int to) { return (at::arange(length) % 3 + 100 * from + 10 * to).to(type); };
      std::vector<at::Tensor> out_parts, in_parts;
      for (int peer = 0; peer < size; ++peer) {
        in_parts.push_back(slice(ranks.rank(), peer));
        out_parts.push_back(slice(peer, ranks.rank()));
      }
      at::Tensor out = at::zeros({size * length}, type);
      ranks.world().all_to_all(at::cat(in_parts), out).wait();
      EXPECT_TENSOR_EQUAL(out, at::cat(out_parts));
    }
  }
}

DIST_TEST(Communicator, ExchangeKeepsTheOrderOfAPair, 2, 3, 4) {
  const int next = (ranks.rank() + 1) % ranks.size();
  const int previous = (ranks.rank() + ranks.size() - 1) % ranks.size();
  for (const at::ScalarType type : kTypes) {
    for (const std::int64_t length : kLengths) {
      at::Tensor first = at::zeros({length}, type);
      at::Tensor second = at::zeros({length + 3}, type);
      const Send sends[] = {{next, contribution(ranks.rank(), length, type)},
                            {next, contribution(ranks.rank() + 50, length + 3, type)}};
      const Receive receives[] = {{previous, first}, {previous, second}};
      ranks.world().exchange(sends, receives).wait();
      EXPECT_TENSOR_EQUAL(first, contribution(previous, length, type));
      EXPECT_TENSOR_EQUAL(second, contribution(previous + 50, length + 3, type));
    }
  }
}

DIST_TEST(Communicator, OneSidedExchange, 2, 4) {
  if (ranks.rank() == 0) {
    const Send send{1, contribution(7, 100, at::kFloat)};
    ranks.world().exchange({&send, 1}, {}).wait();
  } else if (ranks.rank() == 1) {
    at::Tensor x = at::zeros({100});
    const Receive receive{0, x};
    ranks.world().exchange({}, {&receive, 1}).wait();
    EXPECT_TENSOR_EQUAL(x, contribution(7, 100, at::kFloat));
  } else {
    ranks.world().exchange({}, {}).wait();
  }
  EXPECT_NO_THROW(ranks.world().barrier());
}

// A plan has all ranks call every step, whether they have a message in it or not.
DIST_TEST(Communicator, ExchangeOfNothingIsDoneAtOnce, 1, 2, 3) {
  for (int step = 0; step < 3; ++step) {
    Work work = ranks.world().exchange({}, {});
    work.wait();
    EXPECT_NO_THROW(work.wait());
  }
  if (ranks.size() > 1) {  // and the operations after it still match
    at::Tensor x = at::zeros({3});
    const Send send{1, contribution(4, 3, at::kFloat)};
    const Receive receive{0, x};
    ranks.world().exchange({&send, ranks.rank() == 0 ? 1U : 0U}, {&receive, ranks.rank() == 1 ? 1U : 0U}).wait();
    EXPECT_TENSOR_EQUAL(x, ranks.rank() == 1 ? contribution(4, 3, at::kFloat) : at::zeros({3}));
  }
  EXPECT_NO_THROW(ranks.world().barrier());
}

// Both ways at once, of different lengths and types, some with no elements: the k-th sent is the k-th
// received.
DIST_TEST(Communicator, ManyMessagesOfOnePairMatchInOrder, 2, 3) {
  const std::vector<std::int64_t> lengths = {5, 0, 5, 1, 0, 7, 5};
  const auto message = [&](int from, int to, std::size_t k) {
    return contribution(100 * from + 10 * to + static_cast<int>(k), lengths[k], kTypes[k % 4]);
  };
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (std::size_t k = 0; k < lengths.size(); ++k) {  // the messages of several pairs interleaved
    for (int peer = 0; peer < ranks.size(); ++peer) {
      if (peer == ranks.rank()) continue;
      sends.push_back({peer, message(ranks.rank(), peer, k)});
      receives.push_back({peer, at::full({lengths[k]}, -1, kTypes[k % 4])});
    }
  }
  ranks.world().exchange(sends, receives).wait();
  std::vector<std::size_t> next(static_cast<std::size_t>(ranks.size()), 0);
  for (const Receive& receive : receives) {
    EXPECT_TENSOR_EQUAL(receive.tensor, message(receive.peer, ranks.rank(), next[receive.peer]++));
  }
}

// Two steps under way at once, waited for in the opposite order: each step's messages stay its own.
DIST_TEST(Communicator, ExchangesUnderWayAtOnceDoNotMix, 2, 3) {
  const int next = (ranks.rank() + 1) % ranks.size();
  const int previous = (ranks.rank() + ranks.size() - 1) % ranks.size();
  std::vector<at::Tensor> got;
  std::vector<Work> works;
  for (int step = 0; step < 4; ++step) {
    got.push_back(at::zeros({9}));
    const Send send{next, contribution(ranks.rank() + 10 * step, 9, at::kFloat)};
    const Receive receive{previous, got.back()};
    works.push_back(ranks.world().exchange({&send, 1}, {&receive, 1}));
    works.push_back(ranks.world().exchange({}, {}));
  }
  for (auto work = works.rbegin(); work != works.rend(); ++work) work->wait();
  for (int step = 0; step < 4; ++step) {
    EXPECT_TENSOR_EQUAL(got[step], contribution(previous + 10 * step, 9, at::kFloat));
  }
}

DIST_TEST(Communicator, BroadcastFromEveryRoot, 1, 2, 3, 4) {
  for (const at::ScalarType type : kTypes) {
    for (int root = 0; root < ranks.size(); ++root) {
      at::Tensor x = contribution(ranks.rank(), 9, type);
      ranks.world().broadcast(x, root).wait();
      EXPECT_TENSOR_EQUAL(x, contribution(root, 9, type));
    }
  }
}

DIST_TEST(Communicator, SeveralOperationsUnderWayAtOnce, 2, 4) {
  std::vector<at::Tensor> tensors;
  std::vector<Work> works;
  at::Tensor shard = at::zeros({5});
  for (int i = 0; i < 8; ++i) {
    tensors.push_back(contribution(ranks.rank() + i, 3000, at::kDouble));
    works.push_back(ranks.world().all_reduce(tensors.back()));
    works.push_back(ranks.world().reduce_scatter(contribution(ranks.rank(), 5 * ranks.size(), at::kFloat), shard));
  }
  for (auto work = works.rbegin(); work != works.rend(); ++work) work->wait();
  for (int i = 0; i < 8; ++i) {
    EXPECT_TENSOR_EQUAL(tensors[i], total(ranks.size(), 3000, at::kDouble) + i * ranks.size());
  }
}

DIST_TEST(Communicator, RepeatedSumsHaveTheSameBits, 3, 4) {
  at::Tensor source = at::sin(at::arange(40000, at::kFloat) * (ranks.rank() + 1.7)) * 1e3;
  at::Tensor first_sum, first_shard;
  for (int repeat = 0; repeat < 5; ++repeat) {
    at::Tensor sum = source.clone();
    ranks.world().all_reduce(sum).wait();
    const at::Tensor whole = at::cat(std::vector<at::Tensor>(ranks.size(), source));
    at::Tensor shard = at::zeros_like(source);
    ranks.world().reduce_scatter(whole, shard).wait();
    if (repeat == 0) {
      first_sum = sum;
      first_shard = shard;
    }
    EXPECT_TENSOR_EQUAL(sum, first_sum);
    EXPECT_TENSOR_EQUAL(shard, first_shard);
  }
  at::Tensor all = at::zeros({ranks.size() * source.numel()});
  ranks.world().all_gather(first_sum, all).wait();
  EXPECT_TENSOR_EQUAL(all.narrow(0, 0, source.numel()), first_sum);  // all ranks have rank 0's bits
}

}  // namespace
}  // namespace ringtron
