// Kinds of parameters that an optimizer treats in ways of their own.
//
// Integers and names only, so that a memory estimate asks the same question as the optimizer.
#pragma once

#include "ringtron/parameter/parameter_spec.h"

namespace ringtron {

// Of the word embedding or the output layer: --decoupled-lr counts.
bool is_decoupled(const ParameterSpec& parameter);

// A matrix between two hidden vectors, which Muon orthogonalises. Not embeddings (of positions neither) and the output
// layer, and as in Megatron-LM not a Mamba layer's in_proj, whose rows are of five kinds.
bool is_hidden_matrix(const ParameterSpec& parameter);

// The rows of queries, keys and values, query group after query group.
bool is_qkv_matrix(const ParameterSpec& parameter);

}  // namespace ringtron
