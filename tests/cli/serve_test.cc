// `serve` from the outside: what it refuses before it listens, and how it ends.

#include "cli/bad_input.h"

namespace chunkllm {
namespace {

using Arguments = std::vector<std::string>;

Arguments serve(const Arguments& more) {
  Arguments all{"serve", "--model", needle_model(), "--cache-disk-mib", "0", "--port", "0"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST(Serve, EndsWithOneLineWhenItIsInterrupted) {
  RunOptions options;
  options.interrupt_when = [](const ProgramResult& so_far) {
    return so_far.err.find("listening at http://127.0.0.1:") != std::string::npos;
  };
  const ProgramResult result = run_program(serve({}), options);
  EXPECT_EQ(result.exit_code, kInterrupted) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("error: interrupted\n"), std::string::npos) << result.err;
}

TEST(Serve, RefusesWhatCannotBe) {
  const Scratch scratch;
  struct Case {
    Arguments options;
    int exit_code;
    std::string words;
  };
  const Case cases[] = {
      {{"--ssl-cert", "a.pem"}, 2, "--ssl-cert and --ssl-key go together"},
      {{"--ssl-cert", "missing.pem", "--ssl-key", "missing.pem"}, 1, "missing.pem"},
      {{"--host", "999.1.1.1"}, 2, "--host \"999.1.1.1\": "},
      {{"--parallel", "0"}, 2, "--parallel"},
      {{"--max-body-mib", "0"}, 2, "--max-body-mib"},
      {{"--api-key="}, 2, "--api-key"},
      {{"--policy", "fixed", "--adapter", "none"}, 2, "fixed"},
      {{"--ctx", "1000000000", "--parallel", "200"}, 1, "--ctx"},
      {{"--slot-save-path", needle_model() / "config.json"}, 1, "--slot-save-path"},
      {{"--cache-dir", needle_model() / "config.json"}, 1, "--cache-dir"},
      {{"--kv-resident-mib", "1", "--kv-dir", needle_model() / "config.json"}, 1, "--kv-dir"},
      {{"--prompt", "a"}, 2, "--prompt is no option"},
  };
  for (const Case& c : cases) {
    RunOptions options;
    options.interrupt_when = [](const ProgramResult& so_far) {  // it listens and should not
      return so_far.err.find("listening") != std::string::npos;
    };
    const ProgramResult result = run_program(serve(c.options), options);
    EXPECT_EQ(result.exit_code, c.exit_code) << c.words << ": " << result.err;
    EXPECT_NE(result.err.find("error: "), std::string::npos) << result.err;
    EXPECT_NE(result.err.find(c.words), std::string::npos) << result.err;
  }
}

}  // namespace
}  // namespace chunkllm
