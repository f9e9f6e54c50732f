// chunkllm train: adapters for a frozen model.

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.h"
#include "cli/command_line.h"
#include "cli/common.h"
#include "cli/options.h"
#include "train/trainer.h"
#include "train/trial.h"

namespace chunkllm::cli {
namespace {

struct TrainArgs {
  EngineArgs engine;
  std::vector<std::string> data;
  std::vector<std::string> eval_data;
  std::string out;
  std::string lessons;
  std::string first_layer = "grid:32";
  std::string chunks = "sentence";
  bool json = false;
  bool no_trial = false;
  TrainOptions train;
};

// The N of "name:N". Throws Error (kInvalidArgument) naming the option.
int64_t parse_suffix(const char* option, const std::string& text, size_t name_length,
                     int64_t most) {
  int64_t n = 0;
  const char* end = text.data() + text.size();
  if (text.size() > name_length + 1 && text[name_length] == ':') {
    const auto [stop, error] = std::from_chars(text.data() + name_length + 1, end, n);
    if (error == std::errc() && stop == end && n > 0 && n <= most) return n;
    const bool is_negative = text[name_length + 1] == '-';
    if (stop == end && !is_negative && (n > most || error == std::errc::result_out_of_range)) {
      fail(ErrorCode::kInvalidArgument, "{} {}: the number is too large; give one from 1 to {}",
           option, text, most);
    }
  }
  fail(ErrorCode::kInvalidArgument, "{} {}: give a number of tokens from 1 to {} after the colon",
       option, text, most);
}

TrainOptions to_options(const TrainArgs& args) {
  TrainOptions options = args.train;
  options.out = args.out;
  options.lessons = args.lessons;
  const std::string kind = args.first_layer.substr(0, args.first_layer.find(':'));
  const auto first_layer = find_enum<FirstLayerKind>(kind);
  if (!first_layer || *first_layer == FirstLayerKind::kBackbone) {
    fail(
        ErrorCode::kInvalidArgument,
        "--first-layer {}: must be grid:N, window:N or dense; a sliding first layer stays as it is",
        args.first_layer);
  }
  options.first_layer = *first_layer;
  if (options.first_layer != FirstLayerKind::kDense) {
    options.first_layer_tokens = parse_suffix("--first-layer", args.first_layer, kind.size(),
                                              most_first_layer_tokens(options.first_layer));
  } else if (kind != args.first_layer) {
    fail(ErrorCode::kInvalidArgument, "--first-layer {}: dense has no number of tokens",
         args.first_layer);
  }
  if (args.chunks.starts_with("fixed")) {
    options.fixed_chunk = parse_suffix("--chunks", args.chunks, 5, AdapterConfig{}.max_chunk);
  } else if (args.chunks != "sentence") {
    fail(ErrorCode::kInvalidArgument, "--chunks {}: must be sentence or fixed:N", args.chunks);
  }
  return options;
}

nlohmann::ordered_json to_json(const TrainResult& result, const std::optional<TrialReport>& trial) {
  nlohmann::ordered_json json;
  json["steps"] = result.steps;
  json["tokens"] = result.n_tokens;
  json["seconds"] = result.seconds;
  json["tokens_per_second"] =
      result.seconds > 0 ? static_cast<double>(result.n_tokens) / result.seconds : 0.0;
  json["loss"] = result.loss;
  if (result.report.contains("boundaries_by_kind")) {
    json["boundaries_by_kind"] = result.report["boundaries_by_kind"];
  }
  if (result.eval) json["eval"] = *result.eval;
  if (trial) json["trial"] = trial_json(*trial);
  return json;
}

// One table of the figures by layer.
void print_layers(const nlohmann::ordered_json& report) {
  if (!report.contains("kl")) return;
  const auto figure = [&](const char* field, const std::string& layer) {
    if (!report.contains(field) || !report[field].contains(layer)) return std::string("-");
    return fmt::format("{:.3f}", report[field][layer].get<double>());
  };
  double most = 0;
  for (const char* field : {"captured_mass_prompt_end", "captured_mass_answers", "captured_mass"}) {
    if (!report.contains(field)) continue;
    for (const auto& [layer, share] : report[field].items()) {
      most = std::max(most, share.get<double>());
    }
  }
  std::puts("        share of the oracle's mass at 10%            recall@8");
  std::puts("layer   KL     prompt ends answers boundaries recent  adapter recent random");
  for (const auto& [layer, kl] : report["kl"].items()) {
    std::puts(fmt::format("{:>5}   {:.3f}  {:<11} {:<7} {:<10} {:<7} {:<7} {:<6} {}", layer,
                          kl.get<double>(), figure("captured_mass_prompt_end", layer),
                          figure("captured_mass_answers", layer), figure("captured_mass", layer),
                          figure("captured_mass_recent", layer), figure("recall_at_8", layer),
                          figure("recall_at_8_recent", layer), figure("recall_at_8_random", layer))
                  .c_str());
  }
  if (most > 1) {
    std::puts(
        "(shares above 1: the oracle takes whole chunks by their mass, and the tenth is rows;");
    std::puts("another choice may fill it better)");
  }
}

void print_boundaries(const char* of, const nlohmann::ordered_json& report) {
  if (!report.contains("boundary_f1")) return;
  std::puts(fmt::format("{}: boundary precision {:.3f}, recall {:.3f}, F1 {:.3f}", of,
                        report["boundary_precision"].get<double>(),
                        report["boundary_recall"].get<double>(),
                        report["boundary_f1"].get<double>())
                .c_str());
}

// One line: F1 in made-up text of each kind.
void print_kinds(const nlohmann::ordered_json& report) {
  if (!report.contains("boundaries_by_kind")) return;
  std::string line = "boundary F1 in made-up text that was not learned from:";
  for (const auto& [kind, figures] : report["boundaries_by_kind"].items()) {
    line += fmt::format(" {} {:.3f}", kind, figures["boundary_f1"].get<double>());
  }
  std::puts(line.c_str());
}

void print_summary(const TrainResult& result, const std::string& out) {
  std::puts(fmt::format("{} steps, {} tokens in {:.1f} s; loss {:.3f}; adapters in {}",
                        result.steps, result.n_tokens, result.seconds, result.loss, out)
                .c_str());
  print_boundaries(result.eval ? "held-out text" : "lessons",
                   result.eval ? *result.eval : result.report);
  print_kinds(result.report);
  print_layers(result.eval ? *result.eval : result.report);
}

// Tasks that training never saw, answered with the adapters in `out`; nothing where the model's
// context is too short.
std::optional<TrialReport> try_adapters(Engine& engine, const std::string& out,
                                        const CancelToken& cancel) {
  engine.use_adapter(load_adapter(out));
  const std::optional<TrialOptions> options =
      default_trial(engine.config(), default_policy(engine.adapters()));
  if (!options) return std::nullopt;
  std::fprintf(stderr, "%s\n",
               fmt::format("trial: questions about made-up texts of {} tokens, with full attention "
                           "and with the adapters (--no-trial leaves it out)",
                           options->ctx.front())
                   .c_str());
  ProgressBar bar("trial", "answers");
  TrialCallbacks callbacks;
  callbacks.progress = [&](int64_t n_done, int64_t n_questions) {
    bar.update(n_done, n_questions);
  };
  return run_trial(engine, *options, callbacks, &cancel);
}

// All that can be said of --out and --lessons before anything is read. Beside a model's files an
// adapter's would be taken for the model's.
void check_folders(const TrainOptions& options) {
  const std::string out = options.out.string();
  for (const char* name : {"config.json", "model.safetensors", "model.safetensors.index.json"}) {
    std::error_code error;
    if (!std::filesystem::exists(std::filesystem::path(out) / name, error)) continue;
    fail(ErrorCode::kInvalidArgument, "--out {} is a model's folder, with {}; name another", out,
         name);
  }
  check_no_other_training(options);
  check_output_folder("--out", out);
  if (!options.lessons.empty()) check_output_folder("--lessons", options.lessons.string());
}

void run(const TrainArgs& args) {
  const TrainOptions options = to_options(args);
  check_folders(options);
  const CancelToken& cancel = interrupt_token();
  Engine engine = open_engine(args.engine);
  require_held_out({args.data.begin(), args.data.end()},
                   {args.eval_data.begin(), args.eval_data.end()});
  const auto read = [](const std::vector<std::string>& paths) {
    return read_corpus({paths.begin(), paths.end()});
  };
  const Corpus data =
      args.data.empty() ? make_default_corpus(options.seed, kDefaultCorpusBytes) : read(args.data);
  const Corpus eval_data = args.eval_data.empty() ? Corpus{} : read(args.eval_data);
  load_weights(engine);

  TrainResult result;
  {
    std::optional<ProgressBar> bar;
    std::string shown;  // what the bar is of
    TrainCallbacks callbacks;
    callbacks.message = [&bar](const std::string& line) {
      if (bar) bar->clear();
      std::fprintf(stderr, "%s\n", line.c_str());
    };
    callbacks.progress = [&](std::string_view what, std::string_view unit, int64_t n_done,
                             int64_t n_total) {
      if (shown != what) bar.emplace(std::string(what), std::string(unit));
      shown = what;
      bar->update(n_done, n_total);
    };
    result = train_adapters(engine, data, args.eval_data.empty() ? nullptr : &eval_data, options,
                            callbacks, &cancel);
  }
  if (!args.json) print_summary(result, args.out);
  const std::optional<TrialReport> trial =
      args.no_trial ? std::nullopt : try_adapters(engine, args.out, cancel);
  if (args.json) {
    std::puts(to_json(result, trial).dump().c_str());
  } else if (trial) {
    std::fputs(trial_table(*trial).c_str(), stdout);
  }
  const std::array words{std::string("chunkllm"),
                         std::string("eval"),
                         std::string("budget"),
                         std::string("--model"),
                         args.engine.model,
                         std::string("--adapter"),
                         args.out,
                         std::string("--out"),
                         std::string("budget")};
  std::fprintf(stderr, "the smallest budget that keeps 99%% of full attention's score: %s\n",
               shell_words(words).c_str());
}

}  // namespace

void add_train_command(CLI::App& app) {
  auto args = std::make_shared<TrainArgs>();
  TrainOptions& train = args->train;
  const CLI::Validator positive = whole_number(1, int64_t{1} << 40);
  CLI::App* command =
      app.add_subcommand("train", "Train adapters for a model, whose weights stay as they are");
  add_engine_options(*command, args->engine, false);
  add_paths(*command, "--data", args->data,
            "Text to learn from: .txt or .jsonl files, or folders of them (default: made-up prose, "
            "dialogue, code, JSON and tables)")
      ->type_name("PATH...");
  command->add_option("--out", args->out, "Folder for adapters, checkpoint and train.jsonl")
      ->required()
      ->type_name("DIR")
      ->check(not_empty("name a folder"));
  add_paths(*command, "--eval-data", args->eval_data, "Text to measure on, none of --data")
      ->type_name("PATH...");
  command
      ->add_option(
          "--sequences", train.sequences,
          "Sequences to learn from (default: until they hold 96000 tokens and 400 prompt ends, "
          "or 128000 tokens)")
      ->transform(positive);
  command
      ->add_option("--seq-len", train.seq_len,
                   "Most tokens of a sequence; lengths are log-uniform (default: 16384, or the "
                   "model's context)")
      ->transform(positive);
  command->add_option("--epochs", train.epochs, "Times that each sequence is learned from")
      ->transform(positive)
      ->capture_default_str();
  command->add_option("--lr", train.learning_rate, "Peak learning rate of the QK Adapters")
      ->transform(decimal_number())
      ->capture_default_str();
  command
      ->add_option("--lessons", args->lessons,
                   "Folder that keeps what the model taught, to go on with or to fit again with "
                   "other options (default: in --out, and removed at the end)")
      ->type_name("DIR")
      ->check(not_empty("name a folder, or leave it out"));
  command->add_option("--selection-heads", train.selection_heads, "Heads that score chunks")
      ->transform(whole_number(1, kMaxSelectionHeads))
      ->default_str("2");
  command->add_option("--adapter-dim", train.adapter_dim, "Size of q^ and k^ in each head")
      ->transform(whole_number(2, 65536))
      ->default_str("32");
  add_enum_option(*command, "--chunk-key", train.reading.key,
                  "What stands for a chunk: mean (of its tokens) or boundary (its last token) "
                  "(default: mean)");
  add_enum_option(
      *command, "--target", train.reading.target,
      "Whose attention teaches: own (the query's), next (of all up to the next boundary or "
      "prompt end), chunk (of the chunk that ends there), both (own and next), all "
      "(default: chunk)");
  command
      ->add_option("--prompt-end-weight", train.reading.prompt_end_weight,
                   "Weight of prompt ends in the loss; boundaries and random tokens have 1")
      ->transform(decimal_number(0.0, 1000.0))
      ->capture_default_str();
  command
      ->add_option("--answer-weight", train.reading.answer_weight,
                   "Weight of the tokens of answers in the loss")
      ->transform(decimal_number(0.0, 1000.0))
      ->capture_default_str();
  command
      ->add_option("--first-layer", args->first_layer,
                   "How the first layer attends: grid:N, window:N, dense")
      ->capture_default_str();
  command
      ->add_option("--chunks", args->chunks,
                   fmt::format("What a chunk is: sentence, or fixed:N, N tokens, at most {}",
                               AdapterConfig{}.max_chunk))
      ->capture_default_str();
  command
      ->add_option("--chat-share", train.chat_share, "Share of sequences that are retrieval chats")
      ->transform(decimal_number(0.0, 1.0))
      ->default_str("2/3");
  command->add_option("--save-every", train.save_every, "Layers between checkpoints")
      ->transform(positive)
      ->capture_default_str();
  command->add_flag("--resume", train.resume, "Continue the run in --out from its last checkpoint");
  command->add_option("--seed", train.seed, "Seed of all random choices")
      ->transform(whole_number(0, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  command->add_flag("--no-trial", args->no_trial,
                    "Leave out the questions at the end that show how good the adapters are");
  command->add_flag("--json", args->json, "Print one JSON object");
  command->callback([args] { run(*args); });
}

}  // namespace chunkllm::cli
