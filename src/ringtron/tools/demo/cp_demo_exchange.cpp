// Part 3 of cp_demo: the all-to-all between shards of the sequence and shards of the channels.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include "ringtron/base/log.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/tools/demo/cp_demo_parts.h"

namespace ringtron {
namespace {

constexpr int kLargestPicture = 8;  // ranks
constexpr int kChannelsOfRank = 2;

// [s/n, b, c] -> [s, b, c/n], rows in the order of the ranks that had them. c is a multiple of n.
at::Tensor to_channel_shards(const at::Tensor& x, Communicator& group) {
  const std::int64_t n = group.size(), rows = x.size(0), batch = x.size(1), share = x.size(2) / n;
  const at::Tensor in = x.view({rows, batch, n, share}).permute({2, 0, 1, 3}).contiguous();
  const at::Tensor out = at::empty_like(in);
  group.all_to_all(in, out).wait();
  return out.view({n * rows, batch, share});
}

// The inverse.
at::Tensor to_sequence_shards(const at::Tensor& x, Communicator& group) {
  const std::int64_t n = group.size(), rows = x.size(0) / n, batch = x.size(1), share = x.size(2);
  const at::Tensor in = x.contiguous().view({n, rows, batch, share});
  const at::Tensor out = at::empty_like(in);
  group.all_to_all(in, out).wait();
  return out.permute({1, 2, 0, 3}).reshape({rows, batch, n * share});
}

// What each rank of the group holds, [n, rows, channels], on the host.
at::Tensor contents(const at::Tensor& own, Communicator& group) {
  const at::Tensor flat = own.contiguous();
  at::Tensor all = at::empty({group.size() * flat.size(0), flat.size(1), flat.size(2)}, flat.options());
  group.all_gather(flat, all).wait();
  return all.view({group.size(), flat.size(0), flat.size(2)}).cpu();
}

// The element's position in the sequence and its channel, as they were given: "12c".
std::string cell(const at::Tensor& value, std::int64_t channels) {
  const std::int64_t number = value.item<std::int64_t>();
  return fmt::format("{}{}", number / channels, static_cast<char>('a' + number % channels));
}

void draw(const char* title, const at::Tensor& all, std::int64_t channels, bool side_by_side) {
  print_line("  {}", title);
  const std::int64_t ranks = all.size(0), rows = all.size(1), width = all.size(2);
  const auto row_text = [&](std::int64_t rank, std::int64_t row) {
    std::string out;
    for (std::int64_t c = 0; c < width; ++c) out += fmt::format("{:>4}", cell(all[rank][row][c], channels));
    return out;
  };
  if (!side_by_side) {
    for (std::int64_t r = 0; r < ranks; ++r) {
      for (std::int64_t i = 0; i < rows; ++i) {
        print_line("    {:<10}{}", i == 0 ? fmt::format("cp rank {}", r) : "", row_text(r, i));
      }
    }
    return;
  }
  std::string line;
  for (std::int64_t r = 0; r < ranks; ++r) line += fmt::format("  {:>10}", fmt::format("cp rank {}", r));
  print_line("  {}", line);
  for (std::int64_t i = 0; i < rows; ++i) {
    line.clear();
    for (std::int64_t r = 0; r < ranks; ++r) line += fmt::format("  {:>10}", row_text(r, i));
    print_line("  {}", line);
  }
}

at::Tensor order_of_arrival(const SequenceLayout& layout) {
  std::vector<std::int64_t> order;
  for (int r = 0; r < layout.ranks(); ++r) {
    for (const std::int64_t position : positions_in(layout.of(r))) order.push_back(position);
  }
  return at::tensor(order, at::kLong);
}

}  // namespace

bool show_exchange(const Job& job) {
  Communicator& group = job.parallel().context();
  const int n = group.size();
  const std::int64_t length = 2 * n, channels = kChannelsOfRank * n;
  const SequenceLayout layout = zigzag_layout(length, n);
  const at::Tensor order = order_of_arrival(layout).to(job.device());
  // Element (position p, channel c) holds p * channels + c, so that each number tells where it came from.
  const at::Tensor whole = at::arange(length * channels, order.options()).view({length, 1, channels});
  const at::Tensor positions = at::tensor(positions_in(layout.of(group.rank())), at::kLong).to(job.device());
  const at::Tensor before = whole.index_select(0, positions);

  const at::Tensor arrived = to_channel_shards(before, group);
  const at::Tensor natural = at::empty_like(arrived).index_copy_(0, order, arrived);
  const at::Tensor back = to_sequence_shards(natural.index_select(0, order), group);

  const at::Tensor all_before = contents(before, group), all_arrived = contents(arrived, group),
                   all_natural = contents(natural, group);
  const at::Tensor share = whole.narrow(2, group.rank() * kChannelsOfRank, kChannelsOfRank);
  const bool right = at::equal(natural, share) && at::equal(back, before);
  if (!job.is_first_rank()) return right;
  print_line("");
  print_line(
      "3. The all-to-all of Mamba's context parallelism: {} positions x {} channels, context group of rank "
      "0",
      length, channels);
  if (n <= kLargestPicture) {
    draw("before: each rank has its rows of the sequence (zigzag), all channels", all_before, channels, false);
    draw("after: each rank has all rows, in the order in which they came, and its share of the channels", all_arrived,
         channels, true);
    draw("zigzag undone: the order that convolution and scan need", all_natural, channels, true);
  } else {
    print_line("  no picture for more than {} ranks", kLargestPicture);
  }
  print_line("  zigzag again and exchanged back: every rank has what it had   {}", right ? "PASS" : "FAIL");
  return right;
}

}  // namespace ringtron
