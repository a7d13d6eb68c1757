// One layer of a model as data: what kind it is, and what differs from one layer to the next.
#pragma once

#include "ringtron/context_parallel/plan/attention_mask.h"
#include "ringtron/context_parallel/plan/transport.h"
#include "ringtron/mamba_context_parallel/scan_bytes.h"

namespace ringtron {

// attention and mlp: the halves of a transformer layer, each a layer of a hybrid model.
enum class LayerKind { transformer, attention, mlp, mamba };

constexpr bool has_attention(LayerKind kind) { return kind == LayerKind::transformer || kind == LayerKind::attention; }

constexpr bool has_mlp(LayerKind kind) { return kind == LayerKind::transformer || kind == LayerKind::mlp; }

// How a Mamba layer of this transport shares its scan.
inline ScanWay scan_way(CpTransport transport) {
  return transport == CpTransport::a2a ? ScanWay::heads : ScanWay::states;
}

// What of a layer is not kept for the backward pass but computed again in it.
enum class LayerRecompute { none, core_attention, whole };

struct LayerSpec {
  LayerKind kind = LayerKind::transformer;
  int number = 0;  // from 0 over the whole model; part of the parameters' names
  // Of attention. A Mamba layer shares out heads under a2a and passes states on under any other.
  CpTransport transport = CpTransport::p2p;
  AttentionWindow window = {};
  LayerRecompute recompute = LayerRecompute::none;
  bool recompute_mlp = false;   // beside `none` or `core_attention`: the feed-forward part without its norm as well
  bool joins_previous = false;  // `whole`: runs again together with the layer before it, whose input alone is kept
};

}  // namespace ringtron
