// Options of generate: short names, chats, stops, sampling, contexts, saved caches.

#include <filesystem>

#include "cli/bad_input.h"
#include "testing/temp_folder.h"

namespace chunkllm {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::json;

ProgramResult generate_on(const Arguments& more) {
  Arguments arguments{"generate", "-m", needle_model(), "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_program(arguments);
}

json answer(const Arguments& more) {
  const ProgramResult result = generate_on(more);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return json::parse(result.out, nullptr, false);
}

TEST(Completion, ShortOptionsAreTheLongOnes) {
  const Scratch scratch;
  scratch.file("prompt.txt", "The old man walked");
  const json expected = answer({"--prompt", "The old man walked", "--max-tokens", "5", "--ctx",
                                "64", "--seed", "3", "--threads", "1", "--temperature", "1"});
  for (const Arguments& source :
       {Arguments{"-p", "The old man walked"}, Arguments{"-f", scratch / "prompt.txt"}}) {
    Arguments arguments{"-n", "5", "-c", "64", "-s", "3", "-t", "1", "--temp", "1"};
    arguments.insert(arguments.end(), source.begin(), source.end());
    const json given = answer(arguments);
    EXPECT_EQ(given.at("text"), expected.at("text"));
    EXPECT_EQ(given.at("kv_bytes_reserved"), expected.at("kv_bytes_reserved"));
  }
}

TEST(Completion, TheCacheIsBf16UnlessProductsAreF32) {
  const auto reserved = [](const Arguments& more) {
    Arguments arguments{"-p", "x", "-n", "1", "-c", "64"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return answer(arguments).at("kv_bytes_reserved").get<int64_t>();
  };
  EXPECT_EQ(reserved({}), reserved({"--kv-type", "bf16"}));
  EXPECT_EQ(reserved({"--dtype", "f32"}), 2 * reserved({}));
}

TEST(Completion, IsTheSameFromACacheOfWhichLittleIsInMemory) {
  const TempFolder folder("/var/tmp");  // /tmp lies in memory here and there
  std::string text;
  for (int i = 0; i < 100; ++i) text += "The river was quiet that day. ";
  const Arguments all{"-p", text, "-n", "16", "--adapter", needle_adapter(), "--kv-budget", "256"};
  Arguments part = all;
  part.insert(part.end(), {"--kv-resident-mib", "1", "--kv-dir", folder.path()});
  const json with = answer(part);
  const json without = answer(all);
  EXPECT_EQ(with.at("text"), without.at("text"));
  EXPECT_EQ(with.at("kv_bytes_stored"), without.at("kv_bytes_stored"));
  EXPECT_EQ(without.at("kv_bytes_resident"), without.at("kv_bytes_stored"));
  EXPECT_LE(with.at("kv_bytes_resident").get<int64_t>(), int64_t{5} << 18);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Completion, ExactSaysWhatItDrafted) {
  const Arguments prompt{
      "-p", "One two three. One two three. One two three. One two", "-n", "24", "--dtype", "f32"};
  Arguments exact = prompt;
  exact.emplace_back("--exact");
  Arguments full = prompt;
  full.insert(full.end(), {"--policy", "full"});
  EXPECT_FALSE(answer(exact).at("exact").contains("chunk")) << "there is no adapter";
  exact.insert(exact.end(), {"--adapter", needle_adapter()});
  const json with = answer(exact);
  const json without = answer(full);
  EXPECT_EQ(with.at("text"), without.at("text"));
  EXPECT_EQ(with.at("policy"), "full");
  EXPECT_FALSE(without.contains("exact"));
  const json& lookup = with.at("exact").at("lookup");
  const json& chunk = with.at("exact").at("chunk");
  EXPECT_EQ(with.at("exact").at("passes").get<int>() + lookup.at("accepted_tokens").get<int>() +
                chunk.at("accepted_tokens").get<int>(),
            with.at("generated_tokens").get<int>());
  EXPECT_GT(lookup.at("drafted_tokens"), 0);

  for (const char* policy : {"chunk", "auto"}) {
    Arguments other = exact;
    other.insert(other.end(), {"--policy", policy});
    expect_failure(generate_on(other), kUsage, {"--exact", policy}, policy);
  }
}

TEST(Completion, AnUnknownOptionIsNamedBeforeAMissingOne) {
  for (const Arguments& arguments :
       {Arguments{"generate", "--nope"}, Arguments{"generate", "-x"},
        Arguments{"generate", "-p", "-1", "-x3"}, Arguments{"generate", "-n5", "-x"},
        Arguments{"chat", "-x"}, Arguments{"bench", "-p", "5", "-x"}, Arguments{"train", "-x"}}) {
    const ProgramResult result = run_program(arguments);
    expect_failure(result, kUsage, {arguments.back(), "--help"}, "unknown " + arguments.back());
  }
}

TEST(Completion, AnOptionGivenTwiceIsNamed) {
  for (const Arguments& twice :
       {Arguments{"--prompt", "-p", "x", "--prompt", "y"},
        Arguments{"--max-tokens", "-p", "x", "-n", "1", "--max-tokens=2"},
        Arguments{"--kv-budget", "-p", "x", "--kv-budget", "256", "--kv-budget", "300"},
        Arguments{"--seed", "-p", "x", "-s3", "--seed", "3"}}) {
    expect_failure(generate_on({twice.begin() + 1, twice.end()}), kUsage,
                   {twice[0] + " is given twice"}, "twice " + twice[0]);
  }
  EXPECT_EQ(generate_on({"-p", "x", "-n", "1", "--stop", "a", "--stop", "b"}).exit_code, 0);
}

TEST(Completion, AnEmptySystemOrTemplateWasGiven) {
  const int text = answer({"-p", kQuestion, "-n", "1"}).at("prompt_tokens");
  const int chat = answer({"-p", kQuestion, "-n", "1", "--chat"}).at("prompt_tokens");
  const int empty = answer({"-p", kQuestion, "-n", "1", "--system="}).at("prompt_tokens");
  EXPECT_GT(chat, text);
  EXPECT_GT(empty, chat) << "an empty system message is one";
  EXPECT_EQ(answer({"-p", kQuestion, "-n", "1", "--system", ""}).at("prompt_tokens"), empty);
  expect_failure(generate_on({"-p", "x", "--chat-template", ""}), kUsage,
                 {"chat template \"\"", "choose one of"}, "empty_template");
}

TEST(Completion, MembersOfMessagesReachTheTemplate) {
  const Scratch scratch;
  const std::string chat_template = scratch.file(
      "t.jinja",
      "{% for m in messages %}{{ m.reasoning_content }}{{ m.note }}"
      "{% for c in m.tool_calls or [] %}{{ c.name }}{% endfor %}{{ m.content }}{% endfor %}");
  const auto n_tokens = [&](const std::string& messages) -> int {
    return answer({"--messages", scratch.file("m.json", messages), "--chat-template", chat_template,
                   "-n", "1"})
        .at("prompt_tokens");
  };
  const int plain = n_tokens(R"([{"role":"user","content":"Q"}])");
  for (const char* messages :
       {R"([{"role":"user","content":"Q","reasoning_content":"<|user|> hm"}])",
        R"([{"role":"user","content":"Q","note":"one two three"}])",
        R"([{"role":"user","content":"Q","tool_calls":[{"name":"one two three"}]}])",
        R"([{"role":"assistant","content":null},{"role":"user","content":"Q"}])"}) {
    EXPECT_GT(n_tokens(messages), plain) << messages;
  }
}

TEST(Completion, SettingsThatAPolicyDoesNotReadAreNamed) {
  const auto notes = [](const Arguments& more) {
    Arguments arguments{"-p", "x", "-n", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProgramResult result = generate_on(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.err;
  };
  EXPECT_EQ(notes({"--policy", "full", "--window", "64", "--kv-budget", "512"}),
            "note: --kv-budget, --window have no effect under policy full\n");
  EXPECT_THAT(notes({"--refresh", "boundary"}), testing::HasSubstr("--refresh"));
  EXPECT_EQ(notes({"--adapter", needle_adapter(), "--window", "64", "--kv-budget", "512"}), "");
  EXPECT_EQ(notes({"--policy", "full"}), "");
}

TEST(Completion, MessagesAndSystemMakeAChat) {
  const Scratch scratch;
  const json expected = answer({"--chat", "-p", std::string(kFact) + "\n" + kQuestion});
  EXPECT_THAT(expected.at("text").get<std::string>(), testing::StartsWith("48213"));
  scratch.file(
      "one.json",
      json::array({{{"role", "user"}, {"content", std::string(kFact) + "\n" + kQuestion}}}).dump());
  const json one = answer({"--messages", scratch / "one.json"});
  EXPECT_EQ(one.at("text"), expected.at("text"));
  EXPECT_EQ(one.at("prompt_tokens"), expected.at("prompt_tokens"));
  const json system = answer({"--system", kFact, "-p", kQuestion});
  EXPECT_THAT(system.at("text").get<std::string>(), testing::StartsWith("48213"));
  scratch.file("two.json", json::array({{{"role", "system"}, {"content", kFact}},
                                        {{"role", "user"}, {"content", kQuestion}}})
                               .dump());
  EXPECT_EQ(answer({"--messages", scratch / "two.json"}).at("text"), system.at("text"));
  expect_failure(generate_on({"--messages", scratch / "two.json", "--system", "x"}), kUsage,
                 {"--system"}, "two_system_messages");
}

TEST(Completion, AChatFormatCanBeChosen) {
  const Arguments prompt{"-p", std::string(kFact) + "\n" + kQuestion};
  const auto with = [&](Arguments more) {
    more.insert(more.end(), prompt.begin(), prompt.end());
    return more;
  };
  EXPECT_EQ(answer(with({"--chat-template", "needle"})).at("text"),
            answer(with({"--chat"})).at("text"));
  expect_failure(generate_on(with({"--chat-template", "nope"})), kUsage, {"nope", "needle"},
                 "chat_template_unknown");
  const ProgramResult talk =
      run_program({"chat", "-m", needle_model(), "--chat-template", "needle"}, {.input = "/exit"});
  EXPECT_EQ(talk.exit_code, 0) << talk.err;
}

TEST(Completion, AChatTemplateCanBeAFile) {
  const Scratch scratch;
  scratch.file(
      "own.jinja",
      "{{ bos_token }}{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|assistant|>");
  scratch.file("strict.jinja",
               "{% for m in messages %}{% if m.role == 'system' %}"
               "{{ raise_exception('System role not supported') }}"
               "{% endif %}{{ m.content }}{% endfor %}");
  scratch.file("broken.jinja", "{% if %}");
  const Arguments prompt{"-p", std::string(kFact) + "\n" + kQuestion};
  const auto with = [&](const std::string& file, Arguments more = {}) {
    Arguments arguments{"--chat-template", scratch / file};
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.insert(arguments.end(), prompt.begin(), prompt.end());
    return arguments;
  };
  const json own = answer(with("own.jinja"));
  Arguments plain{"--chat"};
  plain.insert(plain.end(), prompt.begin(), prompt.end());
  EXPECT_EQ(own.at("prompt_tokens"), answer(plain).at("prompt_tokens"));
  EXPECT_EQ(own.at("text"), answer(plain).at("text"));
  expect_failure(generate_on(with("strict.jinja", {"--system", "x"})), kFailure,
                 {"strict.jinja", "\"System role not supported\""}, "chat_template_refuses");
  expect_failure(generate_on(with("broken.jinja")), kFailure, {"broken.jinja", "line 1"},
                 "chat_template_broken");
}

// The model's files name another end token; its template says how a turn ends.
TEST(Completion, AChatEndsWhereTheTemplateEndsATurn) {
  const Scratch scratch;
  std::string model = scratch.with_json(needle_model(), "config.json",
                                        [](auto& config) { config["eos_token_id"] = 1; });
  model = scratch.with_json(model, "tokenizer_config.json",
                            [](auto& config) { config["eos_token"] = "<|end_of_text|>"; });
  model = scratch.without(model, "generation_config.json");
  const std::string question = std::string(kFact) + "\n" + kQuestion;
  const ProgramResult one =
      run_program({"generate", "-m", model, "--json", "--chat", "-n", "60", "-p", question});
  EXPECT_EQ(one.exit_code, 0) << one.err;
  EXPECT_EQ(json::parse(one.out).at("finish_reason"), "stop") << one.out;
  scratch.file("batch.jsonl",
               json{{"messages", {{{"role", "user"}, {"content", question}}}}}.dump());
  const ProgramResult batch =
      run_program({"generate", "-m", model, "--input", scratch / "batch.jsonl", "--output",
                   scratch / "out.jsonl", "-n", "60"});
  EXPECT_EQ(batch.exit_code, 0) << batch.err;
  std::ifstream lines(scratch / "out.jsonl");
  EXPECT_EQ(json::parse(lines).at("finish_reason"), "stop");
  const ProgramResult talk = run_program({"chat", "-m", model, "-n", "60"},
                                         {.input = std::string(kFact) + " " + kQuestion});
  EXPECT_EQ(talk.exit_code, 0) << talk.err;
  EXPECT_EQ(talk.err.find("cut at its longest"), std::string::npos) << talk.err;
}

TEST(Completion, BadMessagesAreNamed) {
  const Scratch scratch;
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
      {"[", {"m.json", "JSON"}},
      {"{}", {"m.json", "array"}},
      {R"([{"role":"critic","content":"x"}])", {"m.json, message 1", "critic", "system, user"}},
      {R"([{"role":"user","content":"x","count":3}])", {"m.json, message 1", "count", "string"}},
      {R"([{"role":"user"}])", {"m.json, message 1", "content"}},
      {R"([{"role":"assistant","content":"x"}])", {"m.json", "the user's"}}};
  for (const auto& [text, parts] : cases) {
    expect_failure(generate_on({"--messages", scratch.file("m.json", text)}), kFailure, parts,
                   "messages " + text);
  }
  expect_failure(generate_on({"--messages", scratch / "nowhere.json"}), kFailure,
                 {"nowhere.json", "check the path"}, "no_messages_file");
}

TEST(Completion, StopsEndTheTextBeforeThem) {
  const Arguments prompt{"--system", kFact, "-p", kQuestion};
  const auto with = [&](Arguments more) {
    more.insert(more.end(), prompt.begin(), prompt.end());
    return answer(more);
  };
  const std::string text = with({}).at("text");
  ASSERT_THAT(text, testing::StartsWith("48213"));
  // Every place in the text, so that some lie across tokens and some inside one.
  for (size_t begin = 0; begin + 2 <= 5; ++begin) {
    const std::string stop = text.substr(begin, 2);
    const json given = with({"--stop", "no such text", "--stop", stop});
    EXPECT_EQ(given.at("text"), text.substr(0, text.find(stop))) << stop;
    EXPECT_EQ(given.at("finish_reason"), "stop");
  }
  EXPECT_EQ(with({"--stop", "4821399"}).at("text"), text) << "held back, then shown";
  expect_failure(generate_on({"-p", "x", "--stop", ""}), kUsage, {"--stop"}, "empty_stop");
}

TEST(Completion, IgnoreEosGoesOn) {
  const Arguments prompt{"--system", kFact, "-p", kQuestion, "-n", "40"};
  Arguments ignoring = prompt;
  ignoring.push_back("--ignore-eos");
  EXPECT_EQ(answer(prompt).at("finish_reason"), "stop");
  const json given = answer(ignoring);
  EXPECT_EQ(given.at("finish_reason"), "length");
  EXPECT_EQ(given.at("generated_tokens"), 40);
}

TEST(Completion, SamplingOptionsAreChecked) {
  const std::vector<std::pair<Arguments, std::string>> cases{
      {{"--min-p", "1.5"}, "--min-p 1.5"},
      {{"--min-p", "nan"}, "--min-p nan"},
      {{"--repeat-penalty", "0"}, "--repeat-penalty 0"},
      {{"--repeat-penalty", "inf"}, "--repeat-penalty inf"},
      {{"--repeat-last-n", "-2"}, "--repeat-last-n: -2"}};
  for (const auto& [more, part] : cases) {
    Arguments arguments{"-p", "x"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    expect_failure(generate_on(arguments), kUsage, {part}, part);
  }
  const Arguments prompt{"-p", "The old man walked", "-n", "30", "--ignore-eos"};
  Arguments penalised = prompt;
  penalised.insert(penalised.end(), {"--repeat-penalty", "5", "--repeat-last-n", "-1"});
  EXPECT_NE(answer(prompt).at("text"), answer(penalised).at("text"));
  Arguments likeliest = prompt;
  likeliest.insert(likeliest.end(), {"--temp", "1.5", "--min-p", "1"});
  EXPECT_EQ(answer(prompt).at("text"), answer(likeliest).at("text"));
}

TEST(Completion, TheContextIsWhatIsNeededUpToTheModelsLimit) {
  const Scratch scratch;
  const std::string model = scratch.with_json(
      needle_model(), "config.json",
      [](nlohmann::ordered_json& config) { config["max_position_embeddings"] = 40; });
  const Arguments base{"generate", "-m", model, "--ignore-eos", "-p", "The old man walked", "-n"};
  const auto run = [&](const std::string& n, const Arguments& more) {
    Arguments arguments = base;
    arguments.push_back(n);
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  };
  const ProgramResult at_limit = run("100", {"--json"});
  EXPECT_EQ(at_limit.err, "");
  const json cut = json::parse(at_limit.out);
  EXPECT_EQ(cut.at("finish_reason"), "length");
  EXPECT_EQ(cut.at("prompt_tokens").get<int>() + cut.at("generated_tokens").get<int>(), 41);
  const ProgramResult beyond = run("100", {"--json", "--ctx", "90"});
  EXPECT_EQ(beyond.exit_code, 0);
  EXPECT_THAT(beyond.err, testing::HasSubstr("warning: --ctx 90 is beyond the 40 positions"));
  const json longer = json::parse(beyond.out);
  EXPECT_EQ(longer.at("prompt_tokens").get<int>() + longer.at("generated_tokens").get<int>(), 91);
  EXPECT_LT(json::parse(run("3", {"--json"}).out).at("kv_bytes_reserved"),
            cut.at("kv_bytes_reserved"));
}

TEST(Cache, SavedAndLoadedAnswersTheSame) {
  const Scratch scratch;
  std::string document = training_text(40) + kFact + " ";
  document += training_text(20);
  scratch.file("document.txt", document);
  scratch.file("question.txt", document + kQuestion);
  const Arguments common{"--adapter", needle_adapter(), "--kv-budget", "200",   "-n",
                         "12",        "--dtype",        "f32",         "--chat"};
  const auto with = [&](Arguments more) {
    more.insert(more.end(), common.begin(), common.end());
    return more;
  };
  const json first =
      answer(with({"-f", scratch / "document.txt", "--save-cache", scratch / "saved"}));
  EXPECT_EQ(first.at("cached_tokens"), 0);
  const json expected = answer(with({"-f", scratch / "question.txt"}));
  const json cached =
      answer(with({"-f", scratch / "question.txt", "--load-cache", scratch / "saved"}));
  EXPECT_EQ(cached.at("text"), expected.at("text"));
  EXPECT_EQ(cached.at("chunks"), expected.at("chunks"));
  // The tail of the saved prompt runs again, and what is less than a chunk and a grid chunk.
  EXPECT_GT(cached.at("cached_tokens"), first.at("prompt_tokens").get<int>() - 64 - 128 - 32);
  EXPECT_LT(cached.at("kv_retention"), 0.5);

  const auto refused = [&](Arguments more, const Arguments& parts) {
    more.insert(more.end(), {"-f", scratch / "question.txt", "--load-cache", scratch / "saved"});
    expect_failure(generate_on(more), kFailure, parts, parts.back());
  };
  refused({"--adapter", needle_adapter(), "--kv-budget", "201", "--dtype", "f32"},
          {"saved", "was saved with --kv-budget 200, now 201;"});
  refused({"--adapter", needle_adapter(), "--dtype", "f32"},
          {"saved", "was saved with --kv-budget 200, now 2048 (the default);"});
  refused({"--adapter", needle_adapter(), "--kv-budget", "0.5", "--dtype", "f32"},
          {"saved", "was saved with --kv-budget 200, now 0.5;"});
  refused({"--adapter", needle_adapter(), "--top-k-chunks", "3", "--dtype", "f32"},
          {"saved", "was saved with --kv-budget 200, now none; no --top-k-chunks, now 3;"});
  refused({"--dtype", "f32"}, {"saved", "was saved with --policy chunk, now full;"});
  scratch.file("saved", read_text(scratch.path("saved")).substr(0, 100000));
  refused(common, {"saved", "make the cache anew"});
}

TEST(Cache, UnwritablePathsAreRefusedBeforeTheWork) {
  const Scratch scratch;
  expect_failure(generate_on({"-p", "x", "--save-cache", scratch / "no/such/folder"}), kFailure,
                 {"no/such/folder", "No such file"}, "save_cache_nowhere");
  RunOptions options;
  options.file_size_bytes = 5000;
  const ProgramResult result = run_program(
      {"generate", "-m", needle_model(), "-p", "x", "-n", "2", "--save-cache", scratch / "full"},
      options);
  EXPECT_EQ(result.exit_code, kFailure);
  EXPECT_THAT(result.err, testing::HasSubstr("cannot write"));
  EXPECT_THAT(list_files(scratch.path(".")), testing::IsEmpty()) << "nothing half written";
}

}  // namespace
}  // namespace chunkllm
