#include "serve/prefix_cache.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "base/sha256.h"
#include "engine/common_prefix.h"
#include "engine/session_memory.h"

namespace chunkllm::serve {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExtension = ".prefix";

bool begins_with(std::span<const int32_t> tokens, std::span<const int32_t> prefix) {
  return tokens.size() >= prefix.size() && std::ranges::equal(tokens.first(prefix.size()), prefix);
}

std::string file_name(const PromptCacheEntry& entry) {
  Sha256 hash;
  hash.update(std::as_bytes(std::span(entry.settings)));
  hash.update(std::as_bytes(std::span(entry.tokens)));
  return hash.hex_digest().substr(0, 32) + kExtension;
}

// What a session keeps while it rests beside its cache and its policy: the residual stream, rotary
// tables, logits and tokens.
int64_t resting_bytes(const Engine& engine, const SessionOptions& options) {
  const ModelConfig& config = engine.config();
  const BlockNeeds needs = block_needs(engine, options);
  const auto n_rows = needs.least_tokens + needs.waiting_tokens;
  return static_cast<int64_t>(sizeof(float)) *
             (n_rows * (config.d_model + config.head_dim) + int64_t{config.n_vocab}) +
         options.ctx * static_cast<int64_t>(sizeof(int32_t) + sizeof(Session::Origin));
}

}  // namespace

PrefixCache::PrefixCache(const Engine& engine, const PrefixCacheOptions& options)
    : engine_(engine), options_(options) {
  if (keeps_files()) read_folder();
}

void PrefixCache::read_folder() {
  remove_abandoned_files(options_.folder,
                         [](std::string_view name) { return name.ends_with(kExtension); });
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(options_.folder, error)) {
    if (entry.path().extension() != kExtension || !entry.is_regular_file(error)) continue;
    try {
      files_.push_back({entry.path(), read_prompt_cache_entry(entry.path()),
                        static_cast<int64_t>(entry.file_size()), entry.last_write_time()});
    } catch (const std::exception&) {  // damaged, or of another version: not ours to remove
    }
  }
  keep_within_disk();
}

const std::string& PrefixCache::settings_of(const SessionOptions& options,
                                            const std::string& id) const {
  auto found = settings_.find(id);
  if (found == settings_.end()) {
    found = settings_.emplace(id, cache_settings(engine_, options)).first;
  }
  return found->second;
}

std::pair<std::vector<PrefixCache::Parked>::const_iterator, int64_t> PrefixCache::best_parked(
    const Job& job, const std::string& id) const {
  auto best = parked_.end();
  int64_t most = 0;
  for (auto parked = parked_.begin(); parked != parked_.end(); ++parked) {
    if (parked->id != id) continue;
    const Session& session = *parked->session;
    const int64_t n = common_prefix(job.prompt, session.tokens(), session.origins(),
                                    session.n_done(), job.session);
    if (n <= most) continue;
    most = n;
    best = parked;
  }
  return {best, most};
}

std::pair<std::vector<PrefixCache::File>::const_iterator, int64_t> PrefixCache::best_file(
    const Job& job, const std::string& id) const {
  auto best = files_.end();
  int64_t most = 0;
  if (files_.empty()) return {best, most};
  const std::string& settings = settings_of(job.session, id);
  for (auto file = files_.begin(); file != files_.end(); ++file) {
    if (file->entry.settings != settings) continue;
    if (std::ssize(file->entry.tokens) > job.session.ctx) continue;
    const int64_t n = common_prefix(job.prompt, file->entry.tokens, file->entry.origins,
                                    std::ssize(file->entry.tokens), job.session);
    if (n <= most) continue;
    most = n;
    best = file;
  }
  return {best, most};
}

int64_t PrefixCache::n_shared(const Job& job, const std::string& id) const {
  if (job.scores_prompt) return 0;
  return std::max(best_parked(job, id).second, best_file(job, id).second);
}

std::unique_ptr<Session> PrefixCache::take(const Job& job, const std::string& id,
                                           std::shared_ptr<TransformerScratch> scratch) {
  const auto [parked, n_parked] = best_parked(job, id);
  const auto [file, n_in_file] = best_file(job, id);
  if (n_parked >= n_in_file) {
    if (parked == parked_.end()) return nullptr;
    const auto at = parked_.begin() + (parked - parked_.cbegin());
    std::unique_ptr<Session> session = std::move(at->session);
    parked_.erase(at);
    return session;
  }
  auto session = std::make_unique<Session>(engine_, job.session, std::move(scratch));
  const auto at = files_.begin() + (file - files_.cbegin());
  try {
    load_prompt_cache(at->path, *session);
  } catch (const Error&) {
    std::error_code ignored;
    fs::remove(at->path, ignored);
    files_.erase(at);
    return nullptr;
  }
  std::error_code ignored;
  at->used = fs::file_time_type::clock::now();
  fs::last_write_time(at->path, at->used, ignored);
  return session;
}

void PrefixCache::park(std::unique_ptr<Session> session, const std::string& id) {
  if (!session || session->n_done() < session->n_tokens()) return;
  if (session->n_tokens() < options_.least_tokens) return;
  const auto holds_more = [&](const Parked& other) {
    return other.id == id && begins_with(other.session->tokens(), session->tokens());
  };
  if (std::ranges::any_of(parked_, holds_more)) return;
  std::erase_if(parked_, [&](const Parked& other) {
    return other.id == id && begins_with(session->tokens(), other.session->tokens());
  });
  // Its file would take the room that the next sequence needs.
  if (session->options().kv_storage.in_file()) {
    save(*session, id);
    return;
  }
  parked_.push_back({std::move(session), id, Clock::now()});
  while (memory_bytes() > options_.memory_bytes) {
    const auto oldest = std::ranges::min_element(parked_, {}, &Parked::used);
    save(*oldest->session, oldest->id);
    parked_.erase(oldest);
  }
}

bool PrefixCache::save(const Session& session, const std::string& id) {
  if (!keeps_files() || session.n_tokens() < options_.least_tokens) return true;
  if (session.n_done() < session.n_tokens()) return true;
  PromptCacheEntry entry{settings_of(session.options(), id),
                         {session.tokens().begin(), session.tokens().end()},
                         {session.origins().begin(), session.origins().end()}};
  const auto is_same = [&](const File& file) { return file.entry.settings == entry.settings; };
  if (std::ranges::any_of(files_, [&](const File& file) {
        return is_same(file) && begins_with(file.entry.tokens, entry.tokens);
      })) {
    return true;
  }
  const fs::path path = options_.folder / file_name(entry);
  std::error_code error;
  if (fs::create_directories(options_.folder, error)) {
    // What was asked and answered is nobody else's.
    fs::permissions(options_.folder, fs::perms::owner_all, error);
  }
  try {
    save_prompt_cache(path, session);
  } catch (const std::exception&) {  // the disk is full, or not ours: it will be read anew
    return false;
  }
  std::erase_if(files_, [&](const File& file) {
    if (!is_same(file) || !begins_with(entry.tokens, file.entry.tokens)) return false;
    fs::remove(file.path, error);
    return true;
  });
  files_.push_back({path, std::move(entry), static_cast<int64_t>(fs::file_size(path, error)),
                    fs::file_time_type::clock::now()});
  keep_within_disk();
  return true;
}

void PrefixCache::save_parked() {
  for (const Parked& parked : parked_) save(*parked.session, parked.id);
}

void PrefixCache::keep_within_disk() {
  while (disk_bytes() > options_.disk_bytes) {
    const auto oldest = std::ranges::min_element(files_, {}, &File::used);
    std::error_code ignored;
    fs::remove(oldest->path, ignored);
    files_.erase(oldest);
  }
}

int64_t PrefixCache::memory_bytes() const {
  int64_t n_bytes = 0;
  for (const Parked& parked : parked_) {
    n_bytes += parked.session->kv_bytes_resident() + parked.session->policy().size_bytes() +
               resting_bytes(engine_, parked.session->options());
  }
  return n_bytes;
}

int64_t PrefixCache::disk_bytes() const {
  int64_t n_bytes = 0;
  for (const File& file : files_) n_bytes += file.n_bytes;
  return n_bytes;
}

}  // namespace chunkllm::serve
