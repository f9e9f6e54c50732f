#include "cli/report_script.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <system_error>
#include <thread>

#include "base/program_files.h"
#include "base/timer.h"
#include "cli/command_line.h"

namespace chunkllm::cli {
namespace {

namespace fs = std::filesystem;

constexpr double kMostSeconds = 180;  // matplotlib's first start looks at all fonts

// Empty where there is none.
fs::path find_script() {
  std::error_code error;
  const fs::path source = source_tree();
  if (!source.empty() && fs::exists(source / "script" / "report", error)) {
    return source / "script" / "report";
  }
  const fs::path shared = shared_folder();
  if (!shared.empty() && fs::exists(shared / "report", error)) return shared / "report";
  return {};
}

// A process that reads nothing and says nothing, with the signals of a fresh one; -1 if there is
// no such program.
pid_t start_quietly(std::string program, std::string argument) {
  std::array<char*, 3> arguments{program.data(), argument.data(), nullptr};
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t signals;
  ::sigemptyset(&signals);
  ::posix_spawnattr_setsigmask(&attributes, &signals);
  for (const int signal : {SIGINT, SIGTERM, SIGXFSZ}) ::sigaddset(&signals, signal);
  ::posix_spawnattr_setsigdefault(&attributes, &signals);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t process = -1;
  const int error =
      ::posix_spawn(&process, program.c_str(), &files, &attributes, arguments.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  return error == 0 ? process : -1;
}

// Whether the process ended well; one that takes too long, or is not wanted any more, is ended.
bool ends_well(pid_t process, const CancelToken& cancel) {
  const Timer timer;
  int status = 0;
  while (true) {
    const pid_t ended = ::waitpid(process, &status, WNOHANG);
    if (ended == process) return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (ended < 0 && errno != EINTR) return false;
    if (cancel.requested() || timer.seconds() > kMostSeconds) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ::kill(process, SIGKILL);
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  return false;
}

}  // namespace

std::optional<fs::path> draw_report(const fs::path& folder, const CancelToken& cancel) {
  const fs::path script = find_script();
  if (script.empty()) return std::nullopt;
  // A name that begins with a minus is no option.
  const fs::path named = folder.is_absolute() ? folder : fs::path(".") / folder;
  const pid_t process = start_quietly(script.string(), named.string());
  const bool is_drawn = process > 0 && ends_well(process, cancel);
  cancel.check();
  if (!is_drawn) return std::nullopt;
  return folder / "report.html";
}

std::string report_command(const fs::path& folder) {
  const fs::path script = find_script();
  const std::array words{script.empty() ? std::string("script/report") : script.string(),
                         folder.string()};
  return shell_words(words);
}

}  // namespace chunkllm::cli
