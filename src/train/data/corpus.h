// The text that adapters are trained on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace chunkllm {

struct Document {
  std::string name;                    // file, and line for .jsonl
  std::string text;                    // valid UTF-8
  std::vector<int64_t> sentence_ends;  // byte offsets, as text/sentences.h finds them
};

struct Corpus {
  std::vector<Document> documents;
  // SHA-256 over the texts: a resumed run must have the same data.
  std::string fingerprint;

  int64_t size_bytes() const;
};

// Reads .txt files, .jsonl files ({"text": ...} a line) and folders of them (recursively, in the
// order of their names). Throws Error: kIo for a path that cannot be read, kData for invalid UTF-8
// or JSON, naming file and line, and if there is no text at all.
Corpus read_corpus(const std::vector<std::filesystem::path>& paths);

}  // namespace chunkllm
