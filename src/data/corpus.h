// The text that adapters are trained on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/made_texts.h"

namespace chunkllm {

struct Document {
  std::string name;           // file, and line for .jsonl; the kind of made-up text
  std::string text;           // valid UTF-8
  std::vector<int64_t> ends;  // byte offsets, as text/boundary_ends.h finds them
};

struct Corpus {
  std::vector<Document> documents;
  // SHA-256 over the texts: a resumed run must have the same data.
  std::string fingerprint;

  int64_t size_bytes() const;
  // All texts, a blank line between them.
  std::string joined() const;
};

// Reads .txt files, .jsonl files ({"text": ...} a line) and folders of them (recursively, in the
// order of their names). Throws Error: kIo for a path that cannot be read, kData for invalid UTF-8
// or JSON, naming file and line, and if there is no text at all.
Corpus read_corpus(const std::vector<std::filesystem::path>& paths);

// All texts of files and folders as one; empty, with "made up" for a fingerprint, without any.
struct JoinedText {
  std::string text;
  std::string fingerprint;
};
// Throws Error as read_corpus() does.
JoinedText read_joined_text(const std::vector<std::filesystem::path>& paths);

// Throws Error (kInvalidArgument) naming a file that is in both, whatever path leads to it, or that
// has the bytes of one in `data`: texts that were learned from say nothing of others. Also kIo and
// kData, as read_corpus() does.
void require_held_out(const std::vector<std::filesystem::path>& data,
                      const std::vector<std::filesystem::path>& eval_data);

// Enough made-up text to draw a training's sequences from.
inline constexpr int64_t kDefaultCorpusBytes = int64_t{2} << 20;

// The texts that adapters learn from where nobody gives any: about `n_bytes` of prose, dialogue,
// code, JSON, tables, lists, logs and verse, all made up, a page of one kind after another. The
// same seed gives the same corpus on every machine. Throws Error (kInvalidArgument) unless n_bytes
// is positive.
Corpus make_default_corpus(uint64_t seed, int64_t n_bytes);

// The same of one kind alone.
Corpus make_corpus_of(TextKind kind, uint64_t seed, int64_t n_bytes);

}  // namespace chunkllm
