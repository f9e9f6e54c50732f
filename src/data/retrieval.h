// Texts with facts hidden in them and questions about some: what retrieval chats are made of.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "data/tasks.h"

namespace chunkllm {

// A text and where chunks should end in it, as boundary_ends() says.
struct LabeledText {
  std::string text;
  std::vector<int64_t> ends;
};

// Draws about so many bytes of text.
using DrawText = std::function<LabeledText(Rng& rng, int64_t n_bytes)>;

// `text` with each needle between two of its sentences as a sentence of its own, or where it has
// none on lines of their own between its lines; at random places, in the given order. Each needle
// is a chunk. Throws Error (kData) if `text` is no valid UTF-8.
LabeledText hide_needles(Rng& rng, const LabeledText& text,
                         const std::vector<std::string>& needles);

struct RetrievalText {
  LabeledText document;
  std::vector<TaskQuestion> questions;  // in random order
};

// A document of about `n_bytes`: text that `draw` gives with 3 to 10 facts in sentences, or
// structured text that answers questions, or both. At most `n_questions` questions, of training's
// wordings.
RetrievalText make_retrieval_text(Rng& rng, int64_t n_bytes, int64_t n_questions,
                                  const DrawText& draw);

}  // namespace chunkllm
