// A model's weights, packed for the products that use them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "kernels/linear/linear.h"
#include "model/checkpoint.h"
#include "model/config.h"
#include "model/packed_weights.h"

namespace chunkllm {

struct LayerWeights {
  std::vector<float> attention_norm;       // [d_model]
  Linear qkv;                              // [q_dim + 2 kv_dim, d_model]: q, k, v_proj by rows
  std::vector<float> q_norm, k_norm;       // [head_dim] each, or empty
  Linear output;                           // [d_model, q_dim]
  std::vector<float> post_attention_norm;  // [d_model], or empty
  std::vector<float> ffn_norm;             // [d_model]
  Linear gate_up;                          // [2 d_ff, d_model]: gate_proj, up_proj by rows
  Linear down;                             // [d_model, d_ff]
  std::vector<float> post_ffn_norm;        // [d_model], or empty
};

// Owns the packed weights, or the mapping of a copy of them, and the mapping of the files that the
// embedding rows are read from.
struct ModelWeights {
  ModelConfig config;
  Precision precision = kF32Precision;
  Checkpoint checkpoint;
  std::unique_ptr<PackedWeights> copy;  // null if none is kept
  MatrixView embedding;                 // [n_vocab, d_model], in `checkpoint`; may be quantised
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;  // [d_model]
  Linear lm_head;                 // [n_vocab, d_model]

  // Bytes of the packed products and norms.
  int64_t packed_bytes() const;
  // Number of parameters, tied ones once.
  int64_t n_parameters() const;
  // The type of most of the checkpoint's matrix elements.
  DType main_type() const;
  // SHA-256 over the shape and all RMSNorm weights, as applied, as float32 in layer order: the same
  // for every quantisation of a backbone, so that adapters know the model they were trained on.
  std::string fingerprint() const;
};

// Reads the tensors of a Hugging Face folder or GGUF file. Throws Error: kIo, kData (missing
// tensor, wrong shape or type, non-finite norm or bias), kUnsupported (a bias that config.json does
// not announce, a tensor of a GGUF file that has no part in the model), kMemory before anything
// large is allocated. Quantised matrices are those of the model's copy in `copies`, if it has one;
// ModelWeights::copy can then write one.
ModelWeights load_weights(const std::filesystem::path& model, Precision precision,
                          const PackedFolder& copies = {});

// ModelWeights::fingerprint() of a checkpoint, of which it reads the norms alone. Throws Error as
// load_weights() does for those.
std::string checkpoint_fingerprint(const Checkpoint& checkpoint, const ModelConfig& config);

// Throws Error as load_weights() does, where tensors are missing, have another shape or are none of
// the model's; reads no matrix.
void check_tensors(const Checkpoint& checkpoint, const ModelConfig& config);

// Bytes that load_weights() packs the checkpoint's matrices, norms and biases into.
int64_t packed_weights_bytes(const Checkpoint& checkpoint, const ModelConfig& config,
                             Precision precision);

}  // namespace chunkllm
