// What was read once and may be asked about again: sessions in memory, those used longest ago in
// files, where the next start of the server finds them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/prompt_cache.h"
#include "engine/session.h"
#include "serve/job.h"

namespace chunkllm::serve {

struct PrefixCacheOptions {
  int64_t memory_bytes = int64_t{2} << 30;  // of sessions that no slot has
  std::filesystem::path folder = {};        // of files; empty: there are none
  int64_t disk_bytes = int64_t{8} << 30;    // of files
  int64_t least_tokens = 128;               // less is read again in no time
};

// The engine must outlive it. One thread at a time.
class PrefixCache {
 public:
  // Looks into the folder, which need not be there yet; what it cannot read there it leaves alone.
  PrefixCache(const Engine& engine, const PrefixCacheOptions& options);

  // Tokens of the job's prompt that take() would serve; `id` is selection_id() of its session.
  int64_t n_shared(const Job& job, const std::string& id) const;
  // A session that holds what n_shared() says, or null if its file turns out to be unusable.
  std::unique_ptr<Session> take(const Job& job, const std::string& id,
                                std::shared_ptr<TransformerScratch> scratch);

  // Keeps a session, all of whose tokens ran; those used longest ago go to files if there are too
  // many, and the longest unused files go then.
  void park(std::unique_ptr<Session> session, const std::string& id);
  // Writes a file of a session that goes on, if there is a folder and none that holds as much.
  // False if it could not be written.
  bool save(const Session& session, const std::string& id);
  // Writes files of all parked sessions.
  void save_parked();

  bool keeps_files() const { return !options_.folder.empty(); }
  int64_t memory_bytes() const;
  int64_t disk_bytes() const;

 private:
  struct Parked {
    std::unique_ptr<Session> session;
    std::string id;
    Clock::time_point used;
  };
  struct File {
    std::filesystem::path path;
    PromptCacheEntry entry;
    int64_t n_bytes = 0;
    std::filesystem::file_time_type used;
  };

  const std::string& settings_of(const SessionOptions& options, const std::string& id) const;
  // The one that serves most of a job, and how much; end() and 0: none does.
  std::pair<std::vector<Parked>::const_iterator, int64_t> best_parked(const Job& job,
                                                                      const std::string& id) const;
  std::pair<std::vector<File>::const_iterator, int64_t> best_file(const Job& job,
                                                                  const std::string& id) const;
  void read_folder();
  void keep_within_disk();

  const Engine& engine_;
  PrefixCacheOptions options_;
  std::vector<Parked> parked_;
  std::vector<File> files_;
  mutable std::map<std::string, std::string> settings_;  // cache_settings() by id: slow to make
};

}  // namespace chunkllm::serve
