// Adapters that nobody names: where the program finds them, and what it says.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "cli/run_program.h"
#include "cli/scratch.h"

namespace chunkllm {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;
using testing::HasSubstr;
using testing::Not;

struct Answer {
  std::string policy;
  std::string err;
};

class AdapterSearch : public testing::Test {
 protected:
  // Asks needle-6m with CHUNKLLM_ADAPTERS as given and no user's data.
  Answer ask(const std::string& folders, const Arguments& more = {}, RunOptions options = {}) {
    Arguments arguments{"generate", "--model", needle_model(), "--prompt", "The old man",
                        "-n",       "1",       "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    options.environment.push_back("CHUNKLLM_ADAPTERS=" + folders);
    options.environment.push_back("XDG_DATA_HOME=" + scratch_ / "nothing");
    const ProgramResult result = run_program(arguments, options);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    if (result.exit_code != 0) return {};
    return {nlohmann::json::parse(result.out).at("policy"), result.err};
  }

  // A link to needle-6m's adapter, or to `target`; returns the folder that the link is in.
  std::string link(const std::string& folder, const std::string& name,
                   const fs::path& target = needle_adapter()) {
    fs::create_directories(scratch_.path(folder));
    fs::create_directory_symlink(target, scratch_.path(folder) / name);
    return scratch_ / folder;
  }

  static std::string said(const fs::path& folder) { return "adapter: " + folder.string() + "\n"; }

  Scratch scratch_;
};

constexpr const char* kNowhere = ":";  // leaves the other places

TEST_F(AdapterSearch, AFolderOrAFolderInItIsFoundAndSaid) {
  const std::string folder = link("some", "needle");
  for (const std::string& list : {folder, folder + "/needle", "/nowhere::" + folder + ":"}) {
    const Answer answer = ask(list);
    EXPECT_EQ(answer.policy, "chunk") << list;
    EXPECT_THAT(answer.err, HasSubstr(said(fs::path(folder) / "needle")));
  }
}

TEST_F(AdapterSearch, NothingIsLookedForWhereItIsNotWanted) {
  const std::string folder = link("some", "needle");
  const Arguments unwanted[] = {{"--policy", "full"}, {"--adapter", "none"}};
  for (const Arguments& options : unwanted) {
    const Answer answer = ask(folder, options);
    EXPECT_EQ(answer.policy, "full");
    EXPECT_THAT(answer.err, Not(HasSubstr("adapter")));
  }
  EXPECT_EQ(ask("").policy, "full") << "set and empty: no search";
  const Answer named = ask(folder, {"--adapter", needle_adapter()});
  EXPECT_EQ(named.policy, "chunk");
  EXPECT_THAT(named.err, Not(HasSubstr("adapter:")));
}

TEST_F(AdapterSearch, TheFirstThatFitsIsTaken) {
  const std::string first = link("first", "b");
  link("first", "a", scratch_.with_json(needle_adapter(), "adapter_config.json", [](auto& config) {
    config["fingerprint"] = std::string(64, '0');
  }));
  link("first", "c");
  const std::string second = link("second", "a");
  Answer answer = ask(first + ":" + second);
  EXPECT_THAT(answer.err, HasSubstr(said(fs::path(first) / "b")));
  EXPECT_THAT(answer.err, Not(HasSubstr("note"))) << "another model's adapter is nothing to tell";
  answer = ask(second + ":" + first);
  EXPECT_THAT(answer.err, HasSubstr(said(fs::path(second) / "a")));
}

TEST_F(AdapterSearch, BrokenOnesArePassedOverWithANote) {
  using Break = std::function<std::string(const Scratch&)>;
  const Break breaks[] = {
      [](const Scratch& s) { return s.without(needle_adapter(), "adapter_model.safetensors"); },
      [](const Scratch& s) { return s.truncated(needle_adapter(), "adapter_model.safetensors"); },
      [](const Scratch& s) { return s.truncated(needle_adapter(), "adapter_config.json"); },
      [](const Scratch& s) { return s.with_text(needle_adapter(), "adapter_config.json", "{}"); },
      [](const Scratch& s) {
        return s.with_json(needle_adapter(), "adapter_config.json",
                           [](auto& config) { config["version"] = 99; });
      },
      [](const Scratch& s) {  // fingerprint right, another shape
        return s.with_json(needle_adapter(), "adapter_config.json",
                           [](auto& config) { config["num_hidden_layers"] = 5; });
      }};
  const std::string sound = link("sound", "needle");
  for (const Break& make : breaks) {
    const Scratch scratch;
    const std::string broken = make(scratch);
    const Answer answer = ask(broken + ":" + sound);
    EXPECT_EQ(answer.policy, "chunk");
    EXPECT_THAT(answer.err, HasSubstr("note: an adapter is passed over: "));
    EXPECT_THAT(answer.err, HasSubstr(broken));
    EXPECT_THAT(answer.err, HasSubstr(said(fs::path(sound) / "needle")));
  }
}

TEST_F(AdapterSearch, ByThePolicyThatAsksForIt) {
  const std::string folder = link("some", "needle");
  EXPECT_EQ(ask(folder, {"--policy", "chunk"}).policy, "chunk");
  EXPECT_THAT(ask(folder, {"--policy", "auto"}).err, HasSubstr("2048 tokens chunk does the same"));
  const ProgramResult none =
      run_program({"generate", "--model", needle_model(), "--prompt", "x", "--policy", "oracle"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("needs trained adapters"));
  const ProgramResult other = run_program(
      {"generate", "--model", needle_model(), "--prompt", "x", "--policy", "chunk", "--json"});
  EXPECT_EQ(other.exit_code, 0);
  EXPECT_EQ(nlohmann::json::parse(other.out).at("policy"), "meankey");
  EXPECT_THAT(other.err, HasSubstr("note: there is no adapter of this model, which policy chunk "
                                   "needs (CHUNKLLM_ADAPTERS is empty); meankey takes its place"));
  EXPECT_THAT(ask(folder, {"--policy", "chunk", "--adapter", "none"}).err,
              HasSubstr("(--adapter none)"));
}

TEST_F(AdapterSearch, OneOfEachKindForThePolicyThatFits) {
  const std::string fixed =
      scratch_.with_json(needle_adapter(), "adapter_config.json", [](auto& config) {
        config["chunks"] = {{"fixed", 24}};
      });
  const std::string folder = link("some", "a", fixed);
  link("some", "b");
  Answer answer = ask(folder);
  EXPECT_EQ(answer.policy, "chunk");
  EXPECT_THAT(answer.err, Not(HasSubstr(said(fs::path(folder) / "a"))));
  answer = ask(folder, {"--policy", "fixed"});
  EXPECT_EQ(answer.policy, "fixed");
  EXPECT_THAT(answer.err, HasSubstr(said(fs::path(folder) / "a")));
  EXPECT_EQ(ask("", {"--adapter", fixed}).policy, "fixed");

  const std::string trained = needle_adapter().string();
  for (const char* policy : {"chunk", "fixed", "oracle"}) {
    const Arguments both{"--adapter", fixed, "--adapter", trained, "--policy", policy};
    EXPECT_EQ(ask("", both).policy, policy);
  }
  const auto refused = [&](const Arguments& more, const std::string& part) {
    Arguments arguments{"generate", "--model", needle_model(), "--prompt", "x"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr(part));
  };
  refused({"--adapter", fixed, "--policy", "chunk"}, "or --policy fixed");
  refused({"--adapter", trained, "--policy", "fixed"}, "or --policy chunk");
  refused({"--policy", "fixed"}, "chunkllm train --chunks fixed:N");
  refused({"--adapter", trained, "--adapter", trained}, "both have sentence chunks");
  refused({"--adapter", trained, "--adapter", "none"}, "--adapter none stands alone");
}

TEST_F(AdapterSearch, BenchMeasuresWhatIsFound) {
  RunOptions options;
  options.environment = {"CHUNKLLM_ADAPTERS=" + link("some", "needle")};
  const auto rows = [&](const Arguments& more) {
    Arguments arguments{"bench", "-m", needle_model(), "-p",  "0", "-n", "1",
                        "-r",    "1",  "-o",           "json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return nlohmann::json::parse(run_program(arguments, options).out);
  };
  ASSERT_EQ(rows({}).size(), 2u);
  EXPECT_EQ(rows({}).at(1).at("adapter"), "trained");
  EXPECT_EQ(rows({"--policy", "chunk", "--adapter", "none"}).at(0).at("adapter"), "random");
  EXPECT_EQ(rows({"--policy", "full"}).size(), 1u);
}

TEST_F(AdapterSearch, TheUsersDataTheProgramsShareAndTheSourceTree) {
  RunOptions user;
  user.environment = {"XDG_DATA_HOME=" + scratch_ / "data"};
  const std::string data = link("data/chunkllm/adapters", "needle");
  EXPECT_THAT(ask(kNowhere, {}, user).err, HasSubstr(said(fs::path(data) / "needle")));

  EXPECT_THAT(ask(kNowhere).err, HasSubstr("models/needle-6m-adapter\n"));

  RunOptions installed;  // outside the source tree, which is then none of its business
  fs::create_directories(scratch_.path("prefix/bin"));
  installed.program = scratch_ / "prefix/bin/chunkllm";
  fs::copy_file(CHUNKLLM_BINARY, installed.program);
  EXPECT_EQ(ask(kNowhere, {}, installed).policy, "full");
  EXPECT_THAT(ask(kNowhere, {"--policy", "chunk"}, installed).err,
              HasSubstr("needs (looked in " + (scratch_ / "nothing") + "/chunkllm/adapters, " +
                        (scratch_ / "prefix/share/chunkllm/adapters") +
                        "; --adapter or CHUNKLLM_ADAPTERS names others); meankey takes its place"));
  RunOptions with_fixed = installed;
  with_fixed.environment = {"XDG_DATA_HOME=" + scratch_ / "fixed"};
  link("fixed/chunkllm/adapters", "a",
       scratch_.with_json(needle_adapter(), "adapter_config.json", [](auto& config) {
         config["chunks"] = {{"fixed", 24}};
       }));
  EXPECT_EQ(ask(kNowhere, {}, with_fixed).policy, "fixed");
  const std::string share = link("prefix/share/chunkllm/adapters", "needle");
  EXPECT_THAT(ask(kNowhere, {}, installed).err, HasSubstr(said(fs::path(share) / "needle")));
}

}  // namespace
}  // namespace chunkllm
