// See ssd_scan.h for what is computed. Here, of one chunk of L rows and one head, with u_i = t_i x_i, l_i = a (t_1 +
// ...
// + t_i), S what enters the chunk and G the gradient of what leaves it:
//   P_ij = exp(l_i - l_j) for j <= i, else 0         M = (C B^T) o P
//   Y = M U + diag(exp(l)) C S^T + d X               leaves: exp(l_L) S + U^T diag(w) B,  w_j = exp(l_L - l_j)
//   dM = dY U^T      dU = M^T dY + diag(w) B G^T
//   dC = (dM o P) B + diag(exp(l)) dY S              dB = (dM o P)^T C + diag(w) U G
//   gradient of what enters: dY^T diag(exp(l)) C + exp(l_L) G
#include "ringtron/kernels/ssd_scan/ssd_composed.h"

#include <ATen/ATen.h>

#include <limits>

#include "ringtron/kernels/ssd_scan/ssd_chunks.h"

namespace ringtron::composed {
namespace {

// Chunks first, then heads by their groups: K chunks, L rows, g groups, r heads of a group.
struct Parts {
  SsdChunks chunks;
  std::int64_t heads, groups;
  at::Tensor slope;  // [K, L, h]: dt / d(dt before softplus)
  at::Tensor a;      // [h]
  at::Tensor t;      // [K, L, h], 0 where a row does not count
  at::Tensor l;      // [K, g, r, L]
  at::Tensor x, u;   // [K, g, r, L, p]
  at::Tensor B, C;   // [K, g, 1, L, n]

  at::Tensor last() const { return l.narrow(-1, l.size(-1) - 1, 1); }          // [K, g, r, 1]
  at::Tensor log_decay() const { return last().reshape({l.size(0), heads}); }  // [K, h]
  at::Tensor from_start() const { return l.exp().unsqueeze(-1); }              // exp(l)
  at::Tensor to_end() const { return (last() - l).exp().unsqueeze(-1); }       // w
  at::Tensor by_group(const at::Tensor& state) const { return state.unflatten(1, {groups, heads / groups}); }
  at::Tensor per_head(const at::Tensor& rows) const {  // [K, L, h, ...] to [K, g, r, L, ...]
    return rows.unflatten(2, {groups, heads / groups}).movedim(1, 3);
  }
  at::Tensor rows_of(const at::Tensor& heads_first) const { return heads_first.movedim(3, 1).flatten(2, 3); }
  at::Tensor decays() const {  // P
    const at::Tensor difference = l.unsqueeze(-1) - l.unsqueeze(-2);
    const at::Tensor lower = at::ones({l.size(-1), l.size(-1)}, l.options().dtype(at::kBool)).tril();
    return difference.masked_fill(lower.logical_not(), -std::numeric_limits<double>::infinity()).exp();
  }
};

at::ScalarType wide_of(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

Parts parts_of(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options) {
  const at::ScalarType wide = wide_of(in.x);
  const std::int64_t heads = in.x.size(2), groups = in.B.size(2);
  Parts p{SsdChunks(segments, options.chunk, in.x.device()), heads, groups, {}, in.a.to(wide), {}, {}, {}, {}, {}, {}};
  const at::Tensor raw = in.dt.to(wide) + in.dt_bias.to(wide), soft = at::softplus(raw);
  p.slope = p.chunks.gather(raw.sigmoid() * soft.ge(options.least_step).logical_and(soft.le(options.most_step)));
  p.t = p.chunks.gather(soft.clamp(options.least_step, options.most_step));
  p.l = p.per_head((p.t * p.a).cumsum(1));
  p.x = p.per_head(p.chunks.gather(in.x.to(wide)));
  p.u = p.x * p.per_head(p.t).unsqueeze(-1);
  p.B = p.chunks.gather(in.B.to(wide)).movedim(1, 2).unsqueeze(2);
  p.C = p.chunks.gather(in.C.to(wide)).movedim(1, 2).unsqueeze(2);
  return p;
}

at::Tensor no_lines(const at::Tensor& lines) { return lines.size(0) == 0 ? at::Tensor() : lines; }

at::Tensor added_states(const Parts& p) { return at::matmul((p.u * p.to_end()).mT(), p.B).flatten(1, 2); }

at::Tensor added_gradients(const Parts& p, const at::Tensor& dy) {
  return at::matmul((dy * p.from_start()).mT(), p.C).flatten(1, 2);
}

// exp(log_decay) * entering + added, of the chunks in `which`.
at::Tensor leaving(const at::Tensor& entering, const at::Tensor& added, const at::Tensor& log_decay,
                   const at::Tensor& which) {
  const at::Tensor decay = log_decay.index_select(0, which).exp().unsqueeze(-1).unsqueeze(-1);
  return decay * entering.index_select(0, which) + added.index_select(0, which);
}

at::Tensor gathered_gradient(const Parts& p, const at::Tensor& dy) {
  return p.per_head(p.chunks.gather(dy.to(p.a.scalar_type())));
}

}  // namespace

SsdStates ssd_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options) {
  const Parts p = parts_of(in, segments, options);
  const at::Tensor added = added_states(p), decay = p.log_decay(), &last = p.chunks.last_of_final();
  return {{leaving(p.chunks.enter(added, decay, {}), added, decay, last), p.chunks.segment_sums(decay, last)}, added};
}

at::Tensor ssd_outputs(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                       const SsdStates& states, const at::Tensor& initial) {
  const Parts p = parts_of(in, segments, options);
  const at::Tensor S = p.by_group(p.chunks.enter(states.chunks, p.log_decay(), no_lines(initial)));
  const at::Tensor M = at::matmul(p.C, p.B.mT()) * p.decays();
  const at::Tensor y = at::matmul(M, p.u) + at::matmul(p.C, S.mT()) * p.from_start() +
                       p.x * in.d.to(p.a.scalar_type()).view({p.groups, -1, 1, 1});
  return p.chunks.scatter(p.rows_of(y), in.x);
}

SsdBackwardStates ssd_backward_states(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                                      const at::Tensor& dy) {
  const Parts p = parts_of(in, segments, options);
  const at::Tensor added = added_gradients(p, gathered_gradient(p, dy)), decay = p.log_decay();
  const at::Tensor& first = p.chunks.first_of_initial();
  const SsdEnds ends{leaving(p.chunks.enter_reversed(added, decay, {}), added, decay, first),
                     p.chunks.segment_sums(decay, first)};
  return {{{}, added_states(p)}, {ends, added}};
}

SsdGradients ssd_gradients(const SsdInputs& in, const ScanSegments& segments, const SsdOptions& options,
                           const at::Tensor& initial, const at::Tensor& dy_rows, const SsdBackwardStates& states,
                           const at::Tensor& d_final) {
  const Parts p = parts_of(in, segments, options);
  const at::Tensor log_decay = p.log_decay(), dy = gathered_gradient(p, dy_rows);
  const at::Tensor S = p.by_group(p.chunks.enter(states.states.chunks, log_decay, no_lines(initial)));
  const at::Tensor entering = p.chunks.enter_reversed(states.gradients.chunks, log_decay, no_lines(d_final));
  const at::Tensor G = p.by_group(entering), start = p.from_start(), w = p.to_end();

  const at::Tensor P = p.decays(), M = at::matmul(p.C, p.B.mT()) * P, dM = at::matmul(dy, p.u.mT()), dMP = dM * P;
  const at::Tensor to_state = at::matmul(p.B, G.mT()) * w;  // [K, g, r, L, p]
  const at::Tensor of_state = at::matmul(dy, S) * start;    // [K, g, r, L, n]
  const at::Tensor du = at::matmul(M.mT(), dy) + to_state;
  const at::Tensor dC = (at::matmul(dMP, p.B) + of_state).sum(2);
  const at::Tensor dB = (at::matmul(dMP.mT(), p.C) + at::matmul(p.u * w, G)).sum(2);

  // l_i lets row i see more, and what comes behind see less of it; the last l also lets more through.
  const at::Tensor T = dM * M, kept = (to_state * p.u).sum(-1);
  at::Tensor dl = T.sum(-1) - T.sum(-2) + (of_state * p.C).sum(-1) - kept;
  const at::Tensor through = (G * S).sum(at::IntArrayRef{-2, -1}).unsqueeze(-1) * p.last().exp();
  dl.narrow(-1, dl.size(-1) - 1, 1).add_(kept.sum(-1, /*keepdim=*/true) + through);
  const at::Tensor d_log = p.rows_of(dl.flip(-1).cumsum(-1).flip(-1));  // [K, L, h], of a t_i

  const at::Tensor d = in.d.to(p.a.scalar_type()).view({p.groups, -1, 1, 1});
  const at::Tensor dx = du * p.per_head(p.t).unsqueeze(-1) + dy * d;
  const at::Tensor d_raw = (p.rows_of((du * p.x).sum(-1)) + d_log * p.a) * p.slope;
  const at::Tensor& added = states.gradients.chunks;
  return {p.chunks.scatter(p.rows_of(dx), in.x),
          p.chunks.scatter(d_raw, in.dt),
          p.chunks.scatter(dB.movedim(2, 1), in.B),
          p.chunks.scatter(dC.movedim(2, 1), in.C),
          (d_log * p.t).sum(at::IntArrayRef{0, 1}).to(in.a.scalar_type()),
          (dy * p.x).sum(at::IntArrayRef{0, 3, 4}).view({-1}).to(in.d.scalar_type()),
          d_raw.sum(at::IntArrayRef{0, 1}).to(in.dt_bias.scalar_type()),
          leaving(entering, added, log_decay, p.chunks.first_of_initial())};
}

}  // namespace ringtron::composed
