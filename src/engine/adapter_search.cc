#include "engine/adapter_search.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/program_files.h"
#include "select/chunk/adapter.h"

namespace chunkllm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUnder = "chunkllm/adapters";

void add_parts(std::string_view list, std::vector<fs::path>& folders) {
  while (!list.empty()) {
    const size_t n = std::min(list.find(':'), list.size());
    if (n > 0) folders.emplace_back(list.substr(0, n));
    list.remove_prefix(std::min(n + 1, list.size()));
  }
}

// The folder itself and those in it that hold adapters.
std::vector<fs::path> candidates_in(const fs::path& folder) {
  std::vector<fs::path> candidates;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (has_adapter(entry->path())) candidates.push_back(entry->path());
  }
  std::ranges::sort(candidates);
  if (has_adapter(folder)) candidates.insert(candidates.begin(), folder);
  return candidates;
}

}  // namespace

std::vector<fs::path> adapter_folders() {
  std::vector<fs::path> folders;
  if (const char* own = std::getenv("CHUNKLLM_ADAPTERS")) {
    if (*own == '\0') return folders;
    add_parts(own, folders);
  }
  const fs::path data = user_data_folder();
  if (!data.empty()) folders.push_back(data / kUnder);
  const fs::path shared = shared_folder();
  if (!shared.empty()) folders.push_back(shared / "adapters");
  const fs::path source = source_tree();
  if (!source.empty()) folders.push_back(source / "models");
  return folders;
}

fs::path find_adapter(Engine& engine, AdapterKind kind, std::span<const fs::path> folders,
                      const std::function<void(const std::string&)>& on_skipped) {
  std::optional<std::string> fingerprint;  // read when there is something to compare it with
  for (const fs::path& folder : folders) {
    for (const fs::path& candidate : candidates_in(folder)) {
      if (!fingerprint) fingerprint = engine.fingerprint();
      try {
        const AdapterHead head = read_adapter_head(candidate);
        if (head.fingerprint != *fingerprint || head.kind != kind) continue;
        engine.open_adapter(candidate);
        return candidate;
      } catch (const Error& error) {
        on_skipped(error.what());
      }
    }
  }
  return {};
}

}  // namespace chunkllm
