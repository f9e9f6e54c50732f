#include "data/corpus.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <span>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/sha256.h"
#include "data/json_lines.h"
#include "text/boundary_ends.h"
#include "text/tokenizer/tokenizer.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

bool is_text_file(const std::filesystem::path& path) {
  return path.extension() == ".txt" || path.extension() == ".jsonl";
}

std::vector<std::filesystem::path> list_files(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    if (!std::filesystem::exists(path, error)) {
      fail(ErrorCode::kIo, "{} does not exist; name .txt or .jsonl files or folders of them",
           path.string());
    }
    if (!is_text_file(path)) {
      fail(ErrorCode::kData, "{}: data must be .txt or .jsonl", path.string());
    }
    return {path};
  }
  std::vector<std::filesystem::path> files;
  std::filesystem::recursive_directory_iterator entry(path, error);
  while (!error && entry != std::filesystem::recursive_directory_iterator()) {
    if (entry->is_regular_file(error) && is_text_file(entry->path()))
      files.push_back(entry->path());
    entry.increment(error);
  }
  if (error) fail(ErrorCode::kIo, "cannot list {}: {}", path.string(), error.message());
  std::ranges::sort(files);
  return files;
}

// What one file is called, however it was named.
std::filesystem::path true_path(const std::filesystem::path& file) {
  std::error_code error;
  const std::filesystem::path canonical = std::filesystem::canonical(file, error);
  return error ? file : canonical;
}

uintmax_t size_bytes_of(const std::filesystem::path& file) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(file, error);
  return error ? 0 : size;  // what cannot be read is named where it is read
}

// SHA-256 of a file's bytes.
std::string digest_of(const std::filesystem::path& file) {
  Sha256 hash;
  hash.update(std::as_bytes(MappedFile(file).bytes()));
  return hash.hex_digest();
}

void add_document(Corpus& corpus, std::string name, std::string text) {
  if (const auto invalid = find_invalid_utf8(text)) {
    fail(ErrorCode::kData, "{}: invalid UTF-8 at byte {}; convert the text to UTF-8", name,
         *invalid);
  }
  std::vector<int64_t> ends = boundary_ends(text);
  if (ends.empty()) return;
  corpus.documents.push_back({std::move(name), std::move(text), std::move(ends)});
}

void add_fingerprint(Corpus& corpus) {
  Sha256 hash;
  for (const Document& document : corpus.documents) {
    hash.update(std::as_bytes(std::span(document.text)));
    hash.update(std::as_bytes(std::span("\n", 1)));
  }
  corpus.fingerprint = hash.hex_digest();
}

// About `n_bytes` of made-up text in documents of some 100 KB, which `make` makes.
template <typename Make>
Corpus make_corpus(std::string_view name, uint64_t seed, int64_t n_bytes, const Make& make) {
  if (n_bytes <= 0) fail(ErrorCode::kInvalidArgument, "a corpus of {} bytes is none", n_bytes);
  constexpr int64_t kDocumentBytes = 100000;
  const int64_t n_documents = (n_bytes + kDocumentBytes - 1) / kDocumentBytes;
  Corpus corpus;
  Rng rng(seed);
  for (int64_t i = 0; i < n_documents; ++i) {
    add_document(corpus, fmt::format("{} {}", name, i + 1), make(rng, n_bytes / n_documents));
  }
  add_fingerprint(corpus);
  return corpus;
}

}  // namespace

int64_t Corpus::size_bytes() const {
  return std::accumulate(documents.begin(), documents.end(), int64_t{0},
                         [](int64_t sum, const Document& document) {
                           return sum + static_cast<int64_t>(document.text.size());
                         });
}

std::string Corpus::joined() const {
  std::string text;
  for (const Document& document : documents) text += document.text + "\n\n";
  return text;
}

Corpus read_corpus(const std::vector<std::filesystem::path>& paths) {
  Corpus corpus;
  for (const std::filesystem::path& path : paths) {
    for (const std::filesystem::path& file : list_files(path)) {
      if (file.extension() == ".jsonl") {
        for_each_json_line(file, [&](const nlohmann::json& record, const std::string& where) {
          add_document(corpus, where, JsonFields(record, where).string("text"));
        });
        continue;
      }
      const MappedFile mapped(file);
      const std::string_view content = without_byte_order_mark(
          {reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size()});
      add_document(corpus, file.string(), std::string(content));
    }
  }
  if (corpus.documents.empty()) {
    fail(ErrorCode::kData, "{} holds no text; name .txt or .jsonl files with sentences in them",
         paths.empty() ? std::string("the data") : paths.front().string());
  }
  add_fingerprint(corpus);
  return corpus;
}

JoinedText read_joined_text(const std::vector<std::filesystem::path>& paths) {
  if (paths.empty()) return {"", "made up"};
  const Corpus corpus = read_corpus(paths);
  return {corpus.joined(), corpus.fingerprint};
}

void require_held_out(const std::vector<std::filesystem::path>& data,
                      const std::vector<std::filesystem::path>& eval_data) {
  std::set<std::filesystem::path> learned;
  std::multimap<uintmax_t, std::filesystem::path> learned_by_size;
  for (const std::filesystem::path& path : data) {
    for (const std::filesystem::path& file : list_files(path)) {
      if (!learned.insert(true_path(file)).second) continue;
      learned_by_size.emplace(size_bytes_of(file), file);
    }
  }
  std::map<std::filesystem::path, std::string> digests;  // of files of `data`, made when needed
  for (const std::filesystem::path& path : eval_data) {
    for (const std::filesystem::path& file : list_files(path)) {
      if (learned.contains(true_path(file))) {
        fail(ErrorCode::kInvalidArgument,
             "--eval-data: {} is in --data, too; hold out texts that training does not see",
             file.string());
      }
      const auto [first, last] = learned_by_size.equal_range(size_bytes_of(file));
      if (first == last || first->first == 0) continue;
      const std::string digest = digest_of(file);
      for (auto same_size = first; same_size != last; ++same_size) {
        std::string& other = digests[same_size->second];
        if (other.empty()) other = digest_of(same_size->second);
        if (other != digest) continue;
        fail(ErrorCode::kInvalidArgument,
             "--eval-data: {} is a copy of {} in --data; hold out texts that training does not see",
             file.string(), same_size->second.string());
      }
    }
  }
}

Corpus make_default_corpus(uint64_t seed, int64_t n_bytes) {
  return make_corpus("made-up text", seed, n_bytes, make_mixed_text);
}

Corpus make_corpus_of(TextKind kind, uint64_t seed, int64_t n_bytes) {
  return make_corpus(enum_name(kind), seed, n_bytes,
                     [kind](Rng& rng, int64_t size) { return make_text_of(rng, kind, size); });
}

}  // namespace chunkllm
