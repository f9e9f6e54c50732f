// The built program as a user meets it: started with an argument vector, its output and exit
// caught.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace chunkllm {

struct ProgramResult {
  int exit_code = -1;      // -1 if a signal ended the program
  int signal = 0;          // the signal that ended it, or 0
  bool timed_out = false;  // it was killed because it did not end
  std::string out;
  std::string err;
  int input_left_bytes = 0;  // of standard input, not yet read; kept while the program runs
};

struct RunOptions {
  std::string program = CHUNKLLM_BINARY;
  std::string input = {};                     // what standard input holds
  bool keep_input_open = false;               // standard input never ends
  std::string out_path = {};                  // standard output goes there instead of into `out`
  std::vector<std::string> environment = {};  // "NAME=value", on top of this process's own
  std::optional<rlim_t> address_space_bytes = {};  // RLIMIT_AS
  std::optional<rlim_t> file_size_bytes = {};      // RLIMIT_FSIZE; writes beyond it fail
  // Asked every few milliseconds, once the program has a handler for SIGINT; the first time it says
  // true the program gets that signal.
  std::function<bool(const ProgramResult& so_far)> interrupt_when = {};
  bool interrupt_twice = false;  // SIGTERM follows at once
  std::chrono::seconds timeout{120};
};

namespace run_program_detail {

class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
  }
  ~Pipe() {
    close(0);
    close(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int operator[](size_t end) const { return ends_[end]; }
  void close(size_t end) {
    if (ends_[end] >= 0) ::close(ends_[end]);
    ends_[end] = -1;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

// Appends what a pipe holds; false at its end.
inline bool drain(int fd, std::string& text) {
  std::array<char, 65536> buffer;
  const ssize_t n = ::read(fd, buffer.data(), buffer.size());
  if (n > 0) text.append(buffer.data(), static_cast<size_t>(n));
  return n > 0 || (n < 0 && errno == EINTR);
}

// Whether the process has blocked SIGINT, which it waits for, as /proc says.
inline bool waits_for_interrupts(pid_t process) {
  constexpr uint64_t kBit = uint64_t{1} << (SIGINT - 1);
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string name, value; status >> name && std::getline(status, value);) {
    if (name == "SigBlk:") return (std::stoull(value, nullptr, 16) & kBit) != 0;
  }
  return false;
}

inline std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> list;
  for (std::string& string : strings) list.push_back(string.data());
  list.push_back(nullptr);
  return list;
}

// After fork: only what is safe there.
[[noreturn]] inline void become_program(char* const* argv, char* const* environment, int in,
                                        int out, int err, const RunOptions& options) {
  ::dup2(in, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  ::signal(SIGINT, SIG_DFL);
  if (options.file_size_bytes) {
    ::signal(SIGXFSZ, SIG_DFL);  // which ends a program that does not ignore it itself
    const rlimit limit{*options.file_size_bytes, *options.file_size_bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  if (options.address_space_bytes) {
    const rlimit limit{*options.address_space_bytes, *options.address_space_bytes};
    ::setrlimit(RLIMIT_AS, &limit);
  }
  ::execve(argv[0], argv, environment);
  ::_exit(127);
}

}  // namespace run_program_detail

// Runs the program with these arguments (its own name left out) and waits for its end. `input` must
// fit into a pipe (64 KiB). It looks for no adapters unless `environment` says where.
inline ProgramResult run_program(const std::vector<std::string>& arguments,
                                 const RunOptions& options = {}) {
  using namespace run_program_detail;
  using Clock = std::chrono::steady_clock;
  std::vector<std::string> argv{options.program};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = options.environment;  // the first of a name counts
  environment.emplace_back("CHUNKLLM_ADAPTERS=");
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with("CHUNKLLM_ISA=")) environment.emplace_back(*entry);
  }
  const std::vector<char*> argv_pointers = pointers(argv);
  const std::vector<char*> environment_pointers = pointers(environment);

  Pipe in, out, err;
  int out_fd = out[1];
  if (!options.out_path.empty()) {
    out_fd = ::open(options.out_path.c_str(), O_WRONLY | O_CLOEXEC);
    if (out_fd < 0) throw std::runtime_error("cannot open " + options.out_path);
  }
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    become_program(argv_pointers.data(), environment_pointers.data(), in[0], out_fd, err[1],
                   options);
  }
  if (out_fd != out[1]) ::close(out_fd);
  in.close(0);
  out.close(1);
  err.close(1);
  void (*const old_handler)(int) = std::signal(SIGPIPE, SIG_IGN);
  if (!options.input.empty() && ::write(in[1], options.input.data(), options.input.size()) < 0 &&
      errno != EPIPE) {
    throw std::runtime_error("cannot write to the program");
  }
  std::signal(SIGPIPE, old_handler);
  if (!options.keep_input_open) in.close(1);

  ProgramResult result;
  const Clock::time_point deadline = Clock::now() + options.timeout;
  bool interrupted = false;
  for (bool out_open = true, err_open = true; out_open || err_open;) {
    std::array<pollfd, 2> waiting{
        {{out_open ? out[0] : -1, POLLIN, 0}, {err_open ? err[0] : -1, POLLIN, 0}}};
    ::poll(waiting.data(), waiting.size(), options.interrupt_when && !interrupted ? 5 : 100);
    if (waiting[0].revents != 0) out_open = drain(out[0], result.out);
    if (waiting[1].revents != 0) err_open = drain(err[0], result.err);
    if (options.interrupt_when && !interrupted) {
      ::ioctl(in[1], FIONREAD, &result.input_left_bytes);
      interrupted = waits_for_interrupts(child) && options.interrupt_when(result);
      if (interrupted) ::kill(child, SIGINT);
      if (interrupted && options.interrupt_twice) ::kill(child, SIGTERM);
    }
    if (Clock::now() > deadline && !result.timed_out) {
      result.timed_out = true;
      ::kill(child, SIGKILL);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  return result;
}

}  // namespace chunkllm
