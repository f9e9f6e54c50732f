#include "base/program_files.h"

#include <algorithm>
#include <cstdlib>
#include <system_error>

namespace chunkllm {
namespace {

namespace fs = std::filesystem;

// Empty where the system does not say.
fs::path program_path() {
  std::error_code error;
  fs::path path = fs::read_symlink("/proc/self/exe", error);
  return error ? fs::path() : path;
}

bool is_inside(const fs::path& path, const fs::path& folder) {
  return std::ranges::mismatch(folder, path).in1 == folder.end();
}

fs::path user_folder(const char* variable, const char* in_home) {
  const char* named = std::getenv(variable);
  if (named != nullptr && fs::path(named).is_absolute()) return named;
  const char* home = std::getenv("HOME");
  return home != nullptr && *home != '\0' ? fs::path(home) / in_home : fs::path();
}

}  // namespace

fs::path shared_folder() {
  const fs::path program = program_path();
  return program.empty() ? fs::path() : program.parent_path().parent_path() / "share" / "chunkllm";
}

fs::path source_tree() {
  std::error_code error;
  fs::path source = fs::canonical(CHUNKLLM_SOURCE_DIR, error);
  const fs::path program = program_path();
  return error || program.empty() || !is_inside(program, source) ? fs::path() : source;
}

fs::path user_data_folder() { return user_folder("XDG_DATA_HOME", ".local/share"); }
fs::path user_cache_folder() { return user_folder("XDG_CACHE_HOME", ".cache"); }

}  // namespace chunkllm
