// One layer of a model as data: what kind it is, and what differs from one layer to the next.
#pragma once

#include "ringtron/context_parallel/plan/attention_mask.h"
#include "ringtron/context_parallel/plan/transport.h"

namespace ringtron {

enum class LayerKind { transformer };

// What of a layer is not kept for the backward pass but computed again in it.
enum class LayerRecompute { none, core_attention, whole };

struct LayerSpec {
  LayerKind kind = LayerKind::transformer;
  int number = 0;  // from 0 over the whole model; part of the parameters' names
  CpTransport transport = CpTransport::p2p;
  AttentionWindow window = {};
  LayerRecompute recompute = LayerRecompute::none;
  bool joins_previous = false;  // `whole`: runs again together with the layer before it, whose input alone is kept
};

}  // namespace ringtron
