#include "ringtron/tensor_parallel/collective_matmul.h"

#include <ATen/ATen.h>

#include <array>

#include "ringtron/tensor_parallel/mappings.h"

namespace ringtron {
namespace {

int wrapped(int rank, const Communicator& group) { return (rank + group.size()) % group.size(); }

at::Tensor rows_of_rank(const at::Tensor& whole, int rank, const Communicator& group) {
  const std::int64_t rows = whole.size(0) / group.size();
  return whole.narrow(0, rows * rank, rows);
}

}  // namespace

RowGather::RowGather(const at::Tensor& own, Communicator& group) : group_(group), own_(own.contiguous()), coming_(1) {
  auto sizes = own.sizes().vec();
  sizes[0] *= group.size();
  all_ = at::empty(sizes, own.options());
  // One exchange for each distance, so that each can be waited for alone.
  for (int distance = 1; distance < group.size(); ++distance) {
    const int from = wrapped(group.rank() - distance, group);
    const Send send{wrapped(group.rank() + distance, group), own_};
    const Receive receive{from, rows_of_rank(all_, from, group)};
    coming_.push_back(group.exchange({&send, 1}, {&receive, 1}));
  }
}

at::Tensor RowGather::rows_of(int rank) {
  if (rank == group_.rank()) return own_;
  Work& coming = coming_[static_cast<std::size_t>(wrapped(group_.rank() - rank, group_))];
  coming.wait();
  coming = {};  // on a GPU a second wait is not free
  return rows_of_rank(all_, rank, group_);
}

at::Tensor RowGather::whole() {
  if (group_.size() == 1) return own_;
  for (int rank = 0; rank < group_.size(); ++rank) rows_of(rank);
  rows_of_rank(all_, group_.rank(), group_).copy_(own_);
  return all_;
}

void for_rows_as_they_come(RowGather& rows, const at::Tensor& whole,
                           const std::function<void(const at::Tensor& rows, const at::Tensor& of_whole)>& use) {
  const Communicator& group = rows.group();
  for (int distance = 0; distance < group.size(); ++distance) {
    const int rank = wrapped(group.rank() - distance, group);
    use(rows.rows_of(rank), rows_of_rank(whole, rank, group));
  }
}

at::Tensor all_gather_matmul(RowGather& rows, const at::Tensor& weight, const at::Tensor& bias) {
  const Communicator& group = rows.group();
  const at::Tensor own = rows.rows_of(group.rank());
  auto sizes = own.sizes().vec();
  sizes[0] *= group.size();
  sizes.back() = weight.size(1);
  const at::Tensor y = at::empty(sizes, own.options());
  for_rows_as_they_come(rows, y, [&](const at::Tensor& come, const at::Tensor& of_y) {
    const at::Tensor x = come.flatten(0, -2);
    at::Tensor product = of_y.flatten(0, -2);
    if (bias.defined()) {
      at::addmm_out(product, bias, x, weight);
    } else {
      at::mm_out(product, x, weight);
    }
  });
  return y;
}

at::Tensor matmul_reduce_scatter(const at::Tensor& x, const at::Tensor& weight, Communicator& group) {
  check_rows_divide(x, group);
  auto sizes = x.sizes().vec();
  sizes[0] /= group.size();
  sizes.back() = weight.size(1);
  const at::Tensor own = at::empty(sizes, x.options());
  const at::Tensor own_rows = own.flatten(0, -2);
  const at::Tensor x_rows = x.flatten(0, -2);
  const std::int64_t rows = own_rows.size(0);
  const int last = group.size() - 1;

  // A sum begins behind the rank whose rows they are, passes all others and ends there. Half of the rows goes round by
  // turns with the other half: one's sum travels while the other's share is multiplied.
  struct Half {
    std::int64_t begin, rows;
    at::Tensor sum, next;  // in this step; on the way from the rank before
    Work travelling;
  };
  std::array<Half, 2> halves = {Half{0, rows / 2, {}, {}, {}}, Half{rows / 2, rows - rows / 2, {}, {}, {}}};
  for (int step = 0; step <= last; ++step) {
    const int rank = wrapped(group.rank() - 1 - step, group);  // whose rows
    for (Half& half : halves) {
      const auto place = [&](int of_step) {
        return of_step == last ? own_rows.narrow(0, half.begin, half.rows)
                               : at::empty({half.rows, weight.size(1)}, x.options());
      };
      const at::Tensor share = x_rows.narrow(0, rank * rows + half.begin, half.rows);
      half.travelling.wait();
      half.sum = step == 0 ? place(0) : half.next;
      if (step == 0) {
        at::mm_out(half.sum, share, weight);
      } else {
        at::addmm_out(half.sum, half.sum, share, weight);
      }
      if (step == last) continue;
      half.next = place(step + 1);
      const Send send{wrapped(group.rank() + 1, group), half.sum};
      const Receive receive{wrapped(group.rank() - 1, group), half.next};
      half.travelling = group.exchange({&send, 1}, {&receive, 1});
    }
  }
  return own;
}

}  // namespace ringtron
