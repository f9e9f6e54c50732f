// Arguments that no run can use: exit 2 before anything is loaded or written.

#include "cli/bad_input.h"

namespace chunkllm {
namespace {

using Arguments = std::vector<std::string>;

class BadOption : public testing::TestWithParam<BadInput> {};

TEST_P(BadOption, EndsInOneLine) { check_bad_input(GetParam()); }

BadInput bare(std::string name, Arguments arguments, Arguments parts) {
  return {std::move(name), kUsage, std::move(parts),
          [arguments](const Scratch&) { return Command{arguments}; }};
}

BadInput generating(std::string name, Arguments more, Arguments parts) {
  return {std::move(name), kUsage, std::move(parts),
          [more](const Scratch&) { return generate_with(needle_model(), more); }};
}

BadInput training(std::string name, Arguments more, Arguments parts) {
  return {std::move(name), kUsage, std::move(parts), [more](const Scratch& scratch) {
            Command command{train_arguments(scratch)};
            // An option given again replaces the first one.
            for (size_t i = 0; i + 1 < more.size(); i += 2) {
              auto found = std::ranges::find(command.arguments, more[i]);
              if (found == command.arguments.end()) {
                command.arguments.insert(found, {more[i], more[i + 1]});
              } else {
                *std::next(found) = more[i + 1];
              }
            }
            return command;
          }};
}

BadInput under_isa(std::string name, const std::string& isa, Arguments more, Arguments parts) {
  return {std::move(name), kUsage, std::move(parts), [isa, more](const Scratch&) {
            Command command = generate_with(needle_model(), more);
            command.options.environment = {"CHUNKLLM_ISA=" + isa};
            return command;
          }};
}

INSTANTIATE_TEST_SUITE_P(
    Program, BadOption,
    testing::Values(
        bare("no_command", {}, {"no command", "--help"}),
        bare("unknown_subcommand", {"generat"}, {"generat", "--help"}),
        bare("unknown_option", {"--nope"}, {"--nope", "--help"}),
        bare("no_model", {"generate", "--prompt", "x"}, {"--model", "chunkllm generate --help"}),
        bare("no_out", {"train", "--model", "m", "--data", "d"}, {"--out", "--help"}),
        bare("no_inspect_path", {"inspect"}, {"path", "--help"}),
        bare("bench_nothing", {"bench", "--model", needle_model(), "-p", "0", "-n", "0"},
             {"-p", "-n"}),
        bare("bench_negative", {"bench", "--model", needle_model(), "-p", "-1"}, {"-p", "-1"}),
        bare("bench_output", {"bench", "--model", needle_model(), "-o", "xml"},
             {"-o", "xml", "json"}),
        bare("bench_policy", {"bench", "--model", needle_model(), "--policy", "nope"},
             {"--policy", "nope", "full"})),
    bad_input_name);

INSTANTIATE_TEST_SUITE_P(
    Generate, BadOption,
    testing::Values(
        generating("unknown_generate_option", {"--kv-bugdet", "5"}, {"--kv-bugdet"}),
        generating("two_prompts", {"--prompt-file", "x"}, {"--prompt"}),
        generating("budget_0", {"--kv-budget", "0"}, {"--kv-budget 0", "above 0"}),
        generating("budget_above_1", {"--kv-budget", "1.5"}, {"--kv-budget 1.5", "fraction"}),
        generating("budget_word", {"--kv-budget", "x"}, {"--kv-budget x", "number"}),
        generating("budget_negative", {"--kv-budget", "-5"}, {"--kv-budget -5", "above 0"}),
        generating("budget_nan", {"--kv-budget", "nan"}, {"--kv-budget nan"}),
        generating("budget_empty", {"--kv-budget", ""}, {"--kv-budget"}),
        generating("budget_overflow", {"--kv-budget", "99999999999999999999"},
                   {"--kv-budget 99999999999999999999", "too large"}),
        generating("budget_2_to_the_62", {"--prefill-budget", "4611686018427387904"},
                   {"--prefill-budget 4611686018427387904", "too large"}),
        generating("budget_underflow", {"--kv-budget", "-99999999999999999999"},
                   {"--kv-budget -99999999999999999999", "above 0"}),
        generating("budget_and_top_k", {"--kv-budget", "64", "--top-k-chunks", "2"},
                   {"--kv-budget", "--top-k-chunks", "one"}),
        generating("top_k_chunks_0", {"--top-k-chunks", "0"}, {"--top-k-chunks", "0"}),
        generating("window_0", {"--window", "0"}, {"--window", "0"}),
        generating("sink_negative", {"--sink", "-1"}, {"--sink", "-1"}),
        generating("refresh_every_0", {"--refresh", "every:0"}, {"--refresh every:0", "above 0"}),
        generating("refresh_every_overflow", {"--refresh", "every:99999999999999999999"},
                   {"--refresh every:99999999999999999999", "too large"}),
        generating("refresh_every_word", {"--refresh", "every:x"}, {"--refresh every:x"}),
        generating("refresh_word", {"--refresh", "never"},
                   {"--refresh never", "prompt-end, boundary or every:N"}),
        generating("prefill_word", {"--prefill", "half"}, {"--prefill", "half", "chunk"}),
        generating("temperature_negative", {"--temperature", "-1"}, {"--temperature -1", "0"}),
        generating("temperature_nan", {"--temperature", "nan"}, {"--temperature nan"}),
        generating("temperature_inf", {"--temperature", "inf"}, {"--temperature inf"}),
        generating("top_p_0", {"--top-p", "0"}, {"--top-p 0", "above 0"}),
        generating("top_p_above_1", {"--top-p", "1.01"}, {"--top-p 1.01"}),
        generating("top_k_negative", {"--top-k", "-1"}, {"--top-k", "-1", "0"}),
        generating("seed_negative", {"--seed", "-1"}, {"--seed", "-1"}),
        generating("threads_0", {"--threads", "0"}, {"--threads", "0"}),
        generating("threads_many", {"--threads", "100000"}, {"--threads", "100000"}),
        generating("ctx_0", {"--ctx", "0"}, {"--ctx", "0"}),
        generating("ctx_2_to_the_32", {"--ctx", "4294967296"}, {"--ctx", "4294967296"}),
        generating("budget_min_without_fraction", {"--kv-budget-min", "64"},
                   {"--kv-budget-min", "--kv-budget"}),
        generating("ctx_word", {"--ctx", "8k"}, {"--ctx", "8k"}),
        generating("kv_type", {"--kv-type", "q2"}, {"--kv-type", "q2", "bf16"}),
        generating("kv_dir_without_limit", {"--kv-dir", "kv"}, {"--kv-resident-mib"}),
        generating("kv_resident_0", {"--kv-resident-mib", "0"}, {"--kv-resident-mib", "0"}),
        generating("dtype", {"--dtype", "f64"}, {"--dtype", "f64", "f32"}),
        generating("policy_unknown", {"--policy", "nope"},
                   {"--policy nope",
                    "full, chunk, fixed, meankey, streaming, separator, quest, oracle or auto"}),
        generating("policy_oracle_without_adapter", {"--policy", "oracle"},
                   {"oracle", "--adapter"}),
        bare("max_tokens_0",
             {"generate", "--model", needle_model(), "--prompt", "x", "--max-tokens", "0"},
             {"--max-tokens", "0"}),
        bare("no_prompt", {"generate", "--model", needle_model()}, {"--prompt"}),
        under_isa("isa_unknown", "nonsense", {}, {"CHUNKLLM_ISA=nonsense", "avx2"}),
        under_isa("bf16_without_bf16", "avx2", {"--dtype", "bf16"},
                  {"--dtype bf16", "avx2", "--dtype f32"})),
    bad_input_name);

INSTANTIATE_TEST_SUITE_P(
    Prompt, BadOption,
    testing::Values(
        bare("empty_prompt", {"generate", "--model", needle_model(), "--prompt", ""},
             {"empty", "--prompt"}),
        BadInput{"empty_prompt_file",
                 kUsage,
                 {"empty", "--prompt"},
                 [](const Scratch& scratch) {
                   return Command{{"generate", "--model", needle_model(), "--prompt-file",
                                   scratch.file("empty.txt", "")}};
                 }},
        BadInput{"empty_stdin",
                 kUsage,
                 {"empty", "--prompt"},
                 [](const Scratch&) {
                   return Command{{"generate", "--model", needle_model(), "-"}};
                 }},
        BadInput{"long_prompt",
                 kUsage,
                 {"the prompt has", "context 4", "--ctx"},
                 [](const Scratch&) {
                   return generate_with(needle_model(), {"--ctx", "4"});
                 }},
        BadInput{
            "bad_utf8_prompt",
            kFailure,
            {"UTF-8", "byte 3"},
            [](const Scratch&) {
              return Command{{"generate", "--model", needle_model(), "--prompt", "abc\xff\xfe"}};
            }},
        BadInput{"bad_utf8_prompt_file",
                 kFailure,
                 {"UTF-8", "byte 3", "bad.txt"},
                 [](const Scratch& scratch) {
                   return Command{{"generate", "--model", needle_model(), "--prompt-file",
                                   scratch.file("bad.txt", "abc\xff\xfe")}};
                 }},
        BadInput{"bad_utf8_stdin",
                 kFailure,
                 {"UTF-8", "byte 3", "standard input"},
                 [](const Scratch&) {
                   return Command{{"generate", "--model", needle_model(), "-"},
                                  {.input = "abc\xff\xfe"}};
                 }}),
    bad_input_name);

INSTANTIATE_TEST_SUITE_P(
    Train, BadOption,
    testing::Values(
        training("first_layer_grid_0", {"--first-layer", "grid:0"}, {"--first-layer grid:0"}),
        training("first_layer_word", {"--first-layer", "half"}, {"--first-layer half", "grid:N"}),
        training("first_layer_no_number", {"--first-layer", "grid"}, {"--first-layer grid"}),
        training("chunks_fixed_word", {"--chunks", "fixed:x"}, {"--chunks fixed:x", "number"}),
        training("chunks_fixed_overflow", {"--chunks", "fixed:99999999999999999999"},
                 {"--chunks fixed:99999999999999999999", "too large"}),
        training("chunks_fixed_129", {"--chunks", "fixed:129"},
                 {"--chunks fixed:129", "too large", "1 to 128"}),
        training("chunks_fixed_0", {"--chunks", "fixed:0"}, {"--chunks fixed:0", "1 to 128"}),
        training("chunks_fixed_negative", {"--chunks", "fixed:-3"},
                 {"--chunks fixed:-3", "1 to 128"}),
        training("chunks_word", {"--chunks", "words"}, {"--chunks words", "sentence"}),
        training("target_word", {"--target", "each"}, {"--target", "each", "own"}),
        training("chunk_key_word", {"--chunk-key", "last"}, {"--chunk-key", "last", "mean"}),
        training("epochs_0", {"--epochs", "0"}, {"--epochs", "0"}),
        training("lr_0", {"--lr", "0"}, {"--lr", "above 0"}),
        training("lr_nan", {"--lr", "nan"}, {"--lr", "above 0"}),
        training("seq_len_1", {"--seq-len", "1"}, {"--seq-len", "256"}),
        training("sequences_0", {"--sequences", "0"}, {"--sequences", "0"}),
        training("sequences_too_many", {"--sequences", "1000000000"}, {"--sequences", "100000"}),
        training("adapter_dim_0", {"--adapter-dim", "0"}, {"--adapter-dim"}),
        training("chat_share_nan", {"--chat-share", "nan"}, {"--chat-share"}),
        training("prompt_end_weight_nan", {"--prompt-end-weight", "nan"}, {"--prompt-end-weight"}),
        training("save_every_0", {"--save-every", "0"}, {"--save-every"}),
        BadInput{"eval_data_is_data",
                 kUsage,
                 {"--eval-data", "text.txt is in --data"},
                 [](const Scratch& scratch) {
                   Command command{train_arguments(scratch)};
                   command.arguments.insert(command.arguments.end(),
                                            {"--eval-data", scratch / "./text.txt"});
                   return command;
                 }},
        BadInput{"eval_data_is_a_copy",
                 kUsage,
                 {"--eval-data", "held_out.txt is a copy of", "text.txt in --data"},
                 [](const Scratch& scratch) {
                   Command command{train_arguments(scratch)};
                   const std::string copy =
                       scratch.file("held_out.txt", read_text(scratch.path("text.txt")));
                   command.arguments.insert(command.arguments.end(), {"--eval-data", copy});
                   return command;
                 }}),
    bad_input_name);

}  // namespace
}  // namespace chunkllm
