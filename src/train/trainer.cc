#include "train/trainer.h"

#include <cmath>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/timer.h"
#include "engine/backbone.h"
#include "train/boundary_fit.h"
#include "train/checkpoint.h"
#include "train/fit_report.h"
#include "train/layer_budgets.h"
#include "train/layer_fit.h"
#include "train/lessons.h"
#include "train/own_projections.h"
#include "train/progress_log.h"
#include "train/sequences.h"

namespace chunkllm {
namespace {

constexpr const char* kLogName = "train.jsonl";
constexpr int64_t kLongestSequence = 16384;
constexpr int64_t kLeastSequence = 256;   // what --seq-len may ask for
constexpr int64_t kEnoughTokens = 96000;  // of all lessons
constexpr int64_t kEnoughPromptEnds = 400;
// Tokens after which lessons end even with fewer prompt ends than that.
constexpr int64_t kMostTokens = 128000;
constexpr int64_t kMostSequences = 100000;
// A run's lessons for evaluation, beside those it trains on.
constexpr int64_t kEvalShare = 4;
constexpr int64_t kBoundaryStage = -1;  // beside layers, which are numbers from 0
// Keep the draws for different purposes apart.
constexpr uint64_t kFitStream = 1;
constexpr uint64_t kTrainStream = 2;
constexpr uint64_t kEvalStream = 3;
constexpr uint64_t kBoundaryStream = 4;
constexpr uint64_t kKindStream = 5;
constexpr uint64_t kBudgetStream = 6;
// Made-up text of each kind that boundaries are looked for in at the end of their fit.
constexpr int64_t kTokensOfKind = 2048;
constexpr int64_t kSequencesOfKind = 4;

// Random numbers of one sequence or fit, whatever was drawn before: what makes a resumed run the
// same.
Rng stream_rng(uint64_t seed, uint64_t stream, int64_t index) {
  Rng mixer(seed ^ (stream << 32));
  Rng rng(mixer.next() + static_cast<uint64_t>(index) * 0xd1342543de82ef95u);
  rng.next();
  return rng;
}

AdapterConfig initial_config(const ModelWeights& weights, const TrainOptions& options) {
  AdapterConfig config = AdapterConfig::for_model(weights);
  if (options.adapter_dim > 0) config.adapter_dim = options.adapter_dim;
  if (options.selection_heads > 0) config.selection_heads = options.selection_heads;
  if (config.first_layer != FirstLayerKind::kBackbone) config.first_layer = options.first_layer;
  config.first_layer_tokens = options.first_layer_tokens;
  config.fixed_chunk = options.fixed_chunk;
  config.chunk_key = options.reading.key;
  config.distance_term = options.reading.distance_term;
  return config;
}

Adapter initial_adapter(const ModelWeights& weights, const TrainOptions& options) {
  Adapter adapter;
  adapter.config = initial_config(weights, options);
  const AdapterConfig& config = adapter.config;
  adapter.boundary_weight.assign(static_cast<size_t>(config.d_model), 0.0f);
  adapter.layers.resize(static_cast<size_t>(config.n_layers));
  const auto n = static_cast<size_t>(config.q_dim() * config.d_model);
  for (int64_t i = 0; i < config.n_layers; ++i) {
    if (!config.selects(i)) continue;
    adapter.layers[static_cast<size_t>(i)] = {std::vector<float>(n), std::vector<float>(n)};
  }
  return adapter;
}

// All that decides the result; a checkpoint may only go on under the same.
nlohmann::ordered_json settings_json(const TrainOptions& options, const AdapterConfig& config,
                                     const Engine& engine, const Corpus& data) {
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(lesson_settings(engine, config));
  json["data"] = data.fingerprint;
  json["sequences"] = options.sequences;
  json["seq_len"] = options.seq_len;
  json["chat_share"] = options.chat_share;
  json["epochs"] = options.epochs;
  json["learning_rate"] = options.learning_rate;
  json["target"] = enum_name(options.reading.target);
  json["chunk_key"] = enum_name(options.reading.key);
  json["prompt_end_weight"] = options.reading.prompt_end_weight;
  json["answer_weight"] = options.reading.answer_weight;
  json["selection_heads"] = config.selection_heads;
  json["adapter_dim"] = config.adapter_dim;
  json["distance_term"] = config.distance_term;
  json["seed"] = options.seed;
  return json;
}

std::optional<ChatTemplate> find_chat_template(const Engine& engine,
                                               const TrainCallbacks& callbacks) {
  try {
    return engine.chat_template();
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kUnsupported) throw;
    callbacks.message("the model has no chat template; questions are asked in plain text");
    return std::nullopt;
  }
}

std::string format_minutes(double seconds) {
  return seconds < 90 ? fmt::format("{:.0f} s", seconds) : fmt::format("{:.1f} min", seconds / 60);
}

int64_t longest_sequence(const TrainOptions& options, const ModelConfig& model) {
  return options.seq_len > 0 ? options.seq_len : std::min(kLongestSequence, model.max_positions);
}

// One training run; the parts that its stages share.
class Run {
 public:
  Run(Engine& engine, const Corpus& data, const Corpus* eval_data, const TrainOptions& options,
      const TrainCallbacks& callbacks, const CancelToken* cancel)
      : engine_(engine),
        data_(data),
        eval_data_(eval_data),
        options_(options),
        callbacks_(callbacks),
        cancel_(cancel),
        adapter_(initial_adapter(engine.weights(), options)),
        chat_(find_chat_template(engine, callbacks)),
        special_ids_(engine.special_ids()) {
    const AdapterConfig& config = adapter_.config;
    state_.settings = settings_json(options, config, engine, data).dump();
    if (config.selects(0)) stages_.push_back(0);
    if (config.fixed_chunk == 0) stages_.push_back(kBoundaryStage);
    for (int64_t i = 1; i < config.n_layers; ++i) {
      if (config.selects(i)) stages_.push_back(i);
    }
  }

  TrainResult run();

 private:
  struct Plan {
    int64_t n_tokens = 0;
    bool chat = false;
  };
  Plan plan_of(uint64_t stream, int64_t index) const;
  int64_t planned_sequences() const;
  void start();
  void make_lessons();
  void make_eval_lessons();
  TrainingSequence draw(const Corpus& data, uint64_t stream, int64_t index) const;
  void add_lesson(const Corpus& data, uint64_t stream, LessonStore& store);
  std::vector<std::vector<TrainingSequence>> boundary_epochs() const;
  void announce_lessons() const;
  void announce(double seconds_of_lesson) const;
  void run_stages();
  void fit_one_layer(int64_t layer);
  void fit_chunk_adapter();
  BoundaryReport boundaries_of(TextKind kind, FirstLayer& first_layer) const;
  LayerFitOptions layer_options(int64_t layer) const;
  void log_epoch(nlohmann::ordered_json record, double seconds_so_far);
  void share_budgets();
  void save_state();
  TrainResult finish();

  Engine& engine_;
  const Corpus& data_;
  const Corpus* eval_data_;
  const TrainOptions& options_;
  const TrainCallbacks& callbacks_;
  const CancelToken* cancel_;
  Adapter adapter_;
  std::optional<ChatTemplate> chat_;
  std::vector<int32_t> special_ids_;
  std::vector<int64_t> stages_;  // layers and kBoundaryStage, in order
  CheckpointState state_;
  std::optional<LessonStore> lessons_;
  std::optional<LessonStore> eval_lessons_;
  std::optional<Backbone> backbone_;
  std::optional<ProgressLog> log_;
};

// Lengths are log-uniform; chats are spread evenly. Texts without questions stay short: prompt
// ends, which they lack, are what there is too little of.
Run::Plan Run::plan_of(uint64_t stream, int64_t index) const {
  Rng rng = stream_rng(options_.seed, stream, index);
  const auto chats_before = [this](int64_t n) {
    return std::floor(static_cast<double>(n) * options_.chat_share + 0.5);
  };
  Plan plan;
  plan.chat = chats_before(index + 1) > chats_before(index);
  auto longest = static_cast<double>(longest_sequence(options_, engine_.config()));
  const double shortest =
      std::min(double{kShortestSequence}, std::max(double{kLeastSequence}, longest / 4));
  if (!plan.chat) longest = std::min(longest, 2 * shortest);
  plan.n_tokens = std::llround(
      std::exp(std::log(shortest) + (std::log(longest) - std::log(shortest)) * rng.uniform()));
  return plan;
}

// Sequences that there will be, as far as their planned lengths tell.
int64_t Run::planned_sequences() const {
  if (options_.sequences > 0) return options_.sequences;
  int64_t n = 0;
  const int64_t enough = options_.chat_share > 0 ? kMostTokens : kEnoughTokens;
  for (int64_t n_tokens = 0; n_tokens < enough; ++n) {
    n_tokens += plan_of(kTrainStream, n).n_tokens;
  }
  return n;
}

// A new folder, or the state that a run left behind.
void Run::start() {
  make_writable_folder(options_.out);
  remove_abandoned_files(options_.out, [](std::string_view name) {
    return name == checkpoint_path({}).string() || name == kLogName || is_adapter_file(name);
  });
  check_no_other_training(options_);
  const bool has_checkpoint = std::filesystem::exists(checkpoint_path(options_.out));
  if (has_checkpoint) {
    state_ = load_checkpoint(options_.out, state_.settings, adapter_);
    callbacks_.message(fmt::format("resuming after step {}: {} of {} fits are done", state_.n_steps,
                                   state_.n_stages, stages_.size()));
  } else if (options_.resume) {
    callbacks_.message(fmt::format("{} holds no checkpoint; starting anew", options_.out.string()));
  }
  log_.emplace(options_.out / kLogName,
               has_checkpoint ? std::optional(state_.n_steps) : std::nullopt);
  if (!has_checkpoint) save_state();
  const std::filesystem::path folder =
      options_.lessons.empty() ? options_.out / "lessons" : options_.lessons;
  const std::string settings = lesson_settings(engine_, adapter_.config);
  lessons_.emplace(folder, settings, adapter_.config);
  if (eval_data_ != nullptr) eval_lessons_.emplace(folder / "eval", settings, adapter_.config);
  backbone_.emplace(engine_.weights(),
                    std::max(longest_sequence(options_, engine_.config()), lessons_->longest()));
}

TrainingSequence Run::draw(const Corpus& data, uint64_t stream, int64_t index) const {
  const Plan plan = plan_of(stream, index);
  const SequenceSampler sampler(data, engine_.tokenizer(), chat_ ? &*chat_ : nullptr, plan.n_tokens,
                                plan.n_tokens, plan.chat ? 1.0 : 0.0);
  Rng rng = stream_rng(options_.seed, stream, index);
  rng.next();  // the plan's
  return sampler.draw(rng);
}

void Run::add_lesson(const Corpus& data, uint64_t stream, LessonStore& store) {
  store.add(make_lesson(*backbone_, adapter_.config, special_ids_, engine_.token_marks(),
                        draw(data, stream, store.n_lessons()), cancel_));
}

// The lessons' own sequences, then as many others an epoch: they cost no dense pass. Half of these
// are made up, since a user's texts may lack most kinds.
std::vector<std::vector<TrainingSequence>> Run::boundary_epochs() const {
  const int64_t n = lessons_->n_lessons();
  const Corpus made_up = make_default_corpus(stream_rng(options_.seed, kBoundaryStream, -1).next(),
                                             kDefaultCorpusBytes);
  std::vector<std::vector<TrainingSequence>> epochs(1);
  for (const LessonFile& lesson : lessons_->lessons()) epochs[0].push_back(lesson.sequence());
  for (int64_t epoch = 1; epoch < std::min(options_.epochs, kBoundaryEpochs); ++epoch) {
    epochs.emplace_back();
    for (int64_t i = 0; i < n; ++i) {
      epochs.back().push_back(
          draw(i % 2 == 0 ? data_ : made_up, kBoundaryStream, (epoch - 1) * n + i));
    }
  }
  return epochs;
}

void Run::make_lessons() {
  if (state_.n_stages == std::ssize(stages_)) return;  // resumed with nothing left to fit
  if (state_.n_lessons > lessons_->n_lessons()) {
    fail(ErrorCode::kData,
         "the run learned from {} lessons, but only {} are left; start anew without --resume in "
         "another --out",
         state_.n_lessons, lessons_->n_lessons());
  }
  const auto enough = [this] {
    if (state_.n_lessons > 0) return true;  // that the fits so far had
    if (options_.sequences > 0) return lessons_->n_lessons() >= options_.sequences;
    const int64_t n_tokens = lessons_->n_tokens();
    return n_tokens >= kMostTokens ||
           (n_tokens >= kEnoughTokens &&
            (options_.chat_share == 0 || lessons_->n_prompt_ends() >= kEnoughPromptEnds));
  };
  if (lessons_->n_lessons() > 0) {
    callbacks_.message(fmt::format("{} lessons of {} tokens are there already",
                                   lessons_->n_lessons(), lessons_->n_tokens()));
  }
  const int64_t n_planned = planned_sequences();
  if (!enough()) announce_lessons();
  int64_t n_made = 0;
  while (!enough()) {
    const Timer timer;
    add_lesson(data_, kTrainStream, *lessons_);
    state_.seconds += timer.seconds();
    // The first one takes longer than others like it: memory is touched for the first time.
    ++n_made;
    if (n_made == 2 || (n_made == 1 && enough())) announce(timer.seconds());
    callbacks_.progress("lessons", "sequences", lessons_->n_lessons(),
                        std::max(n_planned, lessons_->n_lessons()));
  }
  if (state_.n_lessons > 0) lessons_->keep_first(state_.n_lessons);
  state_.n_lessons = lessons_->n_lessons();
  state_.n_tokens = lessons_->n_tokens();
}

void Run::make_eval_lessons() {
  if (!eval_lessons_ || state_.n_stages == std::ssize(stages_)) return;
  const int64_t n = std::max<int64_t>(1, (lessons_->n_lessons() + kEvalShare - 1) / kEvalShare);
  while (eval_lessons_->n_lessons() < n) {
    const Timer timer;
    add_lesson(*eval_data_, kEvalStream, *eval_lessons_);
    state_.seconds += timer.seconds();
    callbacks_.progress("held-out lessons", "sequences", eval_lessons_->n_lessons(), n);
  }
  eval_lessons_->keep_first(n);
}

void Run::announce_lessons() const {
  const int64_t longest = longest_sequence(options_, engine_.config());
  const int64_t n_tokens =
      options_.sequences > 0
          ? options_.sequences * std::min(longest, kLongestSequence)
          : std::max(options_.chat_share > 0 ? kMostTokens : kEnoughTokens, longest);
  const int64_t lesson_bytes = foretold_lesson_bytes(adapter_.config, longest);
  callbacks_.message(fmt::format(
      "first lessons of at most about {} tokens, about {} of files in {}; then a fit of each layer",
      n_tokens, format_bytes(lesson_bytes / std::max<int64_t>(longest, 1) * n_tokens),
      (options_.lessons.empty() ? options_.out / "lessons" : options_.lessons).string()));
}

// Called with the time of the lesson made last.
void Run::announce(double seconds_of_lesson) const {
  const ModelConfig& model = engine_.config();
  const LessonFile& lesson = lessons_->lessons().back();
  const auto n_tokens = static_cast<double>(lesson.sequence().n_tokens());
  double tokens_to_come = 0;
  double cost_to_come = 0;
  for (int64_t i = lessons_->n_lessons(); i < planned_sequences(); ++i) {
    const int64_t n = plan_of(kTrainStream, i).n_tokens;
    tokens_to_come += static_cast<double>(n);
    cost_to_come += foretold_lesson_cost(model, n);
  }
  const double eval_factor = eval_data_ != nullptr ? 1.0 + 1.0 / kEvalShare : 1.0;
  const double for_lessons = seconds_of_lesson * cost_to_come /
                             foretold_lesson_cost(model, lesson.sequence().n_tokens()) *
                             eval_factor;
  const double share = (static_cast<double>(lessons_->n_tokens()) + tokens_to_come) / n_tokens;
  const auto epochs = static_cast<double>(options_.epochs);
  double for_fits = 0;
  for (const int64_t stage : stages_) {
    if (stage == kBoundaryStage) {
      for_fits += seconds_of_lesson / static_cast<double>(adapter_.config.n_layers) *
                  std::min(epochs, static_cast<double>(kBoundaryEpochs));
    } else if (lesson.layer(stage).n_queries() > 0) {
      for_fits += time_one_step(lesson.layer(stage), layer_options(stage)) * (epochs + 2);
    }
  }
  callbacks_.message(fmt::format(
      "training {} parameters ({:.2f}% of the model's) in {} fits of {} epochs on {}{:.0f} tokens: "
      "about {} for lessons and about {} for fits",
      adapter_.n_parameters(),
      100.0 * static_cast<double>(adapter_.n_parameters()) /
          static_cast<double>(engine_.weights().n_parameters()),
      stages_.size(), options_.epochs, options_.sequences > 0 ? "" : "at most ", share * n_tokens,
      format_minutes(for_lessons), format_minutes(for_fits * share)));
}

LayerFitOptions Run::layer_options(int64_t layer) const {
  LayerFitOptions options;
  options.selection_heads = adapter_.config.selection_heads;
  options.adapter_dim = adapter_.config.adapter_dim;
  options.reading = options_.reading;
  options.reading.key = adapter_.config.key_of(layer);
  options.epochs = options_.epochs;
  options.learning_rate = options_.learning_rate;
  options.seed = stream_rng(options_.seed, kFitStream, layer).next();
  return options;
}

void Run::log_epoch(nlohmann::ordered_json record, double seconds_so_far) {
  record["seconds"] = state_.seconds + seconds_so_far;
  log_->write(record);
}

void Run::fit_one_layer(int64_t layer) {
  const Timer timer;
  const std::vector<LayerLessonView> lessons = lessons_->layer(layer);
  LayerFitOptions options = layer_options(layer);
  options.start =
      own_projections(engine_.weights(), layer, options.selection_heads, options.adapter_dim);
  if (lessons.empty()) {
    fail(ErrorCode::kData, "the lessons have no query for layer {}; train on longer texts", layer);
  }
  const LayerFitResult result = fit_layer(
      lessons, options, [&](int64_t epoch, double loss, double rate, double gradient_norm) {
        if (cancel_ != nullptr) cancel_->check();
        nlohmann::ordered_json record;
        record["step"] = state_.n_steps + epoch * std::ssize(lessons);
        record["layer"] = layer;
        record["epoch"] = epoch;
        record["loss_kl"] = loss;
        record["learning_rate"] = rate;
        record["gradient_norm"] = gradient_norm;
        log_epoch(std::move(record), timer.seconds());
      });
  adapter_.layers[static_cast<size_t>(layer)] = result.adapter;
  state_.n_steps += result.n_steps;
  if (!(result.loss_after < result.loss_before)) {
    callbacks_.message(fmt::format("layer {} has not learned: its loss was {:.4f} and is {:.4f}",
                                   layer, result.loss_before, result.loss_after));
    state_.report["not_learned"].push_back(layer);
  }
  const LayerReport learned =
      measure_layer(lessons, result.adapter, options.selection_heads, options.reading);
  add_layer(state_.report["lessons"], layer, learned);
  state_.report["row_demand"][std::to_string(layer)] = learned.demand().to_json();
  nlohmann::ordered_json record;
  record["step"] = state_.n_steps;
  record["loss_before"] = result.loss_before;
  record["loss_after"] = result.loss_after;
  add_layer(record, layer, learned);
  if (eval_lessons_) {
    const std::vector<LayerLessonView> held_out = eval_lessons_->layer(layer);
    if (!held_out.empty()) {
      const LayerReport report =
          measure_layer(held_out, result.adapter, options.selection_heads, options.reading);
      add_layer(state_.report["eval"], layer, report);
      add_layer(record["eval"], layer, report);
    }
  }
  log_epoch(std::move(record), timer.seconds());
  state_.seconds += timer.seconds();
}

void Run::fit_chunk_adapter() {
  const Timer timer;
  FirstLayer first_layer(*backbone_, adapter_, special_ids_);
  BoundaryFitOptions options;
  options.seed = stream_rng(options_.seed, kFitStream, kBoundaryStage).next();
  const auto n_steps = state_.n_steps;
  const std::vector<std::vector<TrainingSequence>> epochs = boundary_epochs();
  BoundaryFitResult result =
      fit_boundaries(epochs, mean_boundary_squares(lessons_->lessons()), first_layer, options,
                     cancel_, [&](int64_t epoch, const BoundaryReport& report) {
                       nlohmann::ordered_json record;
                       record["step"] = n_steps + epoch;
                       record["epoch"] = epoch;
                       add_boundaries(record, report);
                       log_epoch(std::move(record), timer.seconds());
                       callbacks_.progress("boundaries", "epochs", epoch, std::ssize(epochs));
                     });
  adapter_.boundary_weight = std::move(result.weight);
  adapter_.boundary_bias = result.bias;
  nlohmann::ordered_json record;
  record["step"] = n_steps + result.n_steps;
  for (const auto& [kind, _] : kTextShares) {
    add_boundaries(record["by_kind"][enum_name(kind)], boundaries_of(kind, first_layer));
  }
  if (eval_lessons_) {
    std::vector<TrainingSequence> held_out;
    for (const LessonFile& lesson : eval_lessons_->lessons()) held_out.push_back(lesson.sequence());
    const BoundaryReport report =
        measure_boundaries(held_out, first_layer, engine_.token_marks(), options.seed, cancel_);
    add_boundaries(state_.report["eval"], report);
    add_boundaries(record["eval"], report);
  }
  // Last, since a fit that is interrupted while it is measured begins anew.
  state_.n_steps += result.n_steps;
  add_boundaries(state_.report["lessons"], result.last_epoch);
  state_.report["lessons"]["boundaries_by_kind"] = record["by_kind"];
  log_epoch(std::move(record), timer.seconds());
  state_.seconds += timer.seconds();
}

// In text that no lesson holds, whatever the corpus is.
BoundaryReport Run::boundaries_of(TextKind kind, FirstLayer& first_layer) const {
  Rng rng = stream_rng(options_.seed, kKindStream, static_cast<int64_t>(kind));
  constexpr int64_t kBytes = 8 * kTokensOfKind * kSequencesOfKind;
  const Corpus corpus = make_corpus_of(kind, rng.next(), kBytes);
  const int64_t n_tokens = std::min(kTokensOfKind, longest_sequence(options_, engine_.config()));
  const SequenceSampler sampler(corpus, engine_.tokenizer(), nullptr, n_tokens, n_tokens, 0.0);
  std::vector<TrainingSequence> sequences;
  for (int64_t i = 0; i < kSequencesOfKind; ++i) sequences.push_back(sampler.draw(rng));
  return measure_boundaries(sequences, first_layer, engine_.token_marks(), rng.next(), cancel_);
}

void Run::save_state() { save_checkpoint(options_.out, state_, adapter_); }

void Run::run_stages() {
  const auto n = std::ssize(stages_);
  while (state_.n_stages < n) {
    const int64_t stage = stages_[static_cast<size_t>(state_.n_stages)];
    try {
      if (stage == kBoundaryStage) {
        fit_chunk_adapter();
      } else {
        fit_one_layer(stage);
      }
    } catch (const Error& e) {
      if (e.code() != ErrorCode::kData) throw;
      save_state();
      fail(ErrorCode::kData, "{}: {}; the fits before it are in {}",
           stage == kBoundaryStage ? "the Chunk Adapter" : fmt::format("layer {}", stage), e.what(),
           checkpoint_path(options_.out).string());
    }
    ++state_.n_stages;
    callbacks_.progress("fits", "layers", state_.n_stages, n);
    if (state_.n_stages == n || state_.n_stages % options_.save_every == 0) save_state();
  }
}

void Run::share_budgets() {
  const std::vector<double> shares =
      shares_by_demand(state_.report["row_demand"], adapter_.config.n_layers);
  if (shares.empty() || longest_sequence(options_, engine_.config()) < kBudgetTextTokens) return;
  const Timer timer;
  const SequenceSampler sampler(eval_data_ != nullptr ? *eval_data_ : data_, engine_.tokenizer(),
                                nullptr, kBudgetTextTokens, kBudgetTextTokens, 0.0);
  std::vector<std::vector<int32_t>> texts;
  for (int64_t i = 0; i < kBudgetTexts; ++i) {
    Rng rng = stream_rng(options_.seed, kBudgetStream, i);
    texts.push_back(sampler.draw(rng).ids);
  }
  callbacks_.message(budget_comparison_text());
  const BudgetLosses losses = choose_layer_budgets(engine_, adapter_, shares, texts, cancel_);
  callbacks_.message(losses.to_text());
  state_.report["lessons"]["loss_shared_budget"] = losses.shared;
  state_.report["lessons"]["loss_equal_budgets"] = losses.equal;
  state_.seconds += timer.seconds();
}

// The adapter folder, and what there is to say.
TrainResult Run::finish() {
  TrainResult result;
  result.steps = state_.n_steps;
  result.n_tokens = state_.n_tokens;
  result.seconds = state_.seconds;
  result.report = state_.report["lessons"];
  result.loss = result.report.value("loss_bce", 0.0) + result.report.value("loss_kl", 0.0);
  if (eval_lessons_) result.eval = state_.report["eval"];
  nlohmann::ordered_json training = nlohmann::ordered_json::parse(state_.settings);
  training["steps_done"] = state_.n_steps;
  training["lessons"] = state_.n_lessons;
  training["tokens"] = result.n_tokens;
  training["losses"] = result.report;
  adapter_.config.training = training.dump();
  save_adapter(adapter_, options_.out);
  if (options_.lessons.empty()) {
    if (eval_lessons_) eval_lessons_->remove();
    lessons_->remove();
  }
  return result;
}

TrainResult Run::run() {
  start();
  try {
    make_lessons();
    make_eval_lessons();
    run_stages();
    share_budgets();
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kInterrupted) throw;
    if (state_.n_stages > 0) save_state();
    fail(ErrorCode::kInterrupted,
         "interrupted after {} lessons and {} of {} fits; --resume continues from there",
         lessons_->n_lessons(), state_.n_stages, stages_.size());
  }
  return finish();
}

void check_options(const TrainOptions& options) {
  const auto require = [](bool fine, const char* what) {
    if (!fine) fail(ErrorCode::kInvalidArgument, "{}", what);
  };
  require(options.seq_len == 0 || options.seq_len >= kLeastSequence,
          "--seq-len must be at least 256");
  require(options.sequences >= 0 && options.sequences <= kMostSequences,
          "--sequences must be at most 100000");
  require(options.epochs >= 1, "--epochs must be at least 1");
  require(options.learning_rate > 0 && options.learning_rate <= 1,
          "--lr must be above 0 and at most 1");
  require(options.chat_share >= 0 && options.chat_share <= 1,
          "--chat-share must lie between 0 and 1");
  require(options.reading.prompt_end_weight >= 0 && options.reading.prompt_end_weight <= 1000,
          "--prompt-end-weight must lie between 0 and 1000");
  require(options.reading.answer_weight >= 0 && options.reading.answer_weight <= 1000,
          "--answer-weight must lie between 0 and 1000");
  const int64_t max_chunk = AdapterConfig{}.max_chunk;
  if (options.fixed_chunk < 0 || options.fixed_chunk > max_chunk) {
    fail(ErrorCode::kInvalidArgument, "--chunks fixed:{} must have from 1 to {} tokens",
         options.fixed_chunk, max_chunk);
  }
  require(options.selection_heads >= 0 && options.selection_heads <= kMaxSelectionHeads,
          "--selection-heads must lie between 1 and 64");
  require(options.adapter_dim == 0 || options.adapter_dim >= 2, "--adapter-dim must be at least 2");
  require(options.save_every >= 1, "--save-every must be at least 1 layer");
}

}  // namespace

void check_no_other_training(const TrainOptions& options) {
  std::error_code error;
  if (!std::filesystem::exists(checkpoint_path(options.out), error)) {
    if (!has_adapter(options.out)) return;
    fail(ErrorCode::kInvalidArgument,
         "{} holds adapters already, and no checkpoint to go on from; choose another --out",
         options.out.string());
  }
  if (options.resume) return;
  fail(ErrorCode::kInvalidArgument,
       "{} holds a training already; continue it with --resume or choose another --out",
       options.out.string());
}

TrainResult train_adapters(Engine& engine, const Corpus& data, const Corpus* eval_data,
                           const TrainOptions& options, const TrainCallbacks& callbacks,
                           const CancelToken* cancel) {
  check_options(options);
  const AdapterConfig config = initial_config(engine.weights(), options);
  if (std::ssize(config.backbone_layers) == config.n_layers) {
    fail(ErrorCode::kUnsupported,
         "every layer of this model slides over a window of {} tokens; there is nothing to select",
         engine.config().window);
  }
  const int64_t longest = longest_sequence(options, engine.config());
  // Of all layers, and of the layer that is fitted: start, weights, gradient, both moments, result.
  const int64_t layer_bytes = 2 * config.q_dim() * config.d_model * 4;
  const int64_t adapter_bytes = (config.n_selecting() + 6) * layer_bytes;
  require_memory(
      adapter_bytes,
      fmt::format("training of {} heads of {}", config.selection_heads, config.adapter_dim),
      "use a smaller --adapter-dim or --selection-heads");
  // A lesson is in memory twice while it is written, its masses in float32 too.
  const int64_t lesson_bytes = foretold_lesson_bytes(config, longest);
  require_memory(Backbone::memory_bytes(engine.weights(), longest) + 3 * lesson_bytes +
                     kSelectionScratchBytes + adapter_bytes,
                 fmt::format("training on sequences of {} tokens", longest),
                 "use a smaller --seq-len");
  return Run(engine, data, eval_data, options, callbacks, cancel).run();
}

}  // namespace chunkllm
