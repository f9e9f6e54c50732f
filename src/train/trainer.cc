#include "train/trainer.h"

#include <array>
#include <cmath>

#include "base/error.h"
#include "base/memory.h"
#include "base/timer.h"
#include "train/adamw.h"
#include "train/checkpoint.h"
#include "train/data/sequences.h"
#include "train/learner.h"
#include "train/progress_log.h"

namespace chunkllm {
namespace {

constexpr double kWarmupFraction = 0.05;
constexpr double kFinalRateFraction = 0.1;
constexpr double kSmallestBudget = 0.05;
// Keep the draws for different purposes apart.
constexpr uint64_t kInitStream = 1;
constexpr uint64_t kTrainStream = 2;
constexpr uint64_t kEvalStream = 3;

// Random numbers of one sequence, whatever was drawn before: what makes a resumed run the same.
Rng sequence_rng(uint64_t seed, uint64_t stream, int64_t index) {
  Rng mixer(seed ^ (stream << 32));
  Rng rng(mixer.next() + static_cast<uint64_t>(index) * 0xd1342543de82ef95u);
  rng.next();
  return rng;
}

Adapter initial_adapter(const ModelWeights& weights, const TrainOptions& options) {
  Adapter adapter;
  adapter.config = AdapterConfig::for_model(weights);
  AdapterConfig& config = adapter.config;
  if (options.adapter_dim > 0) config.adapter_dim = options.adapter_dim;
  if (config.first_layer != FirstLayerKind::kBackbone) config.first_layer = options.first_layer;
  config.first_layer_tokens = options.first_layer_tokens;
  config.fixed_chunk = options.fixed_chunk;
  config.max_chunk = std::max(config.max_chunk, config.fixed_chunk);
  adapter.boundary_weight.assign(static_cast<size_t>(config.d_model), 0.0f);
  adapter.layers.resize(static_cast<size_t>(config.n_layers));
  Rng rng = sequence_rng(options.seed, kInitStream, 0);
  const double deviation = 1.0 / std::sqrt(static_cast<double>(config.d_model));
  for (int64_t i = 0; i < config.n_layers; ++i) {
    if (!config.selects(i)) continue;
    for (std::vector<float>* weight :
         {&adapter.layers[static_cast<size_t>(i)].q, &adapter.layers[static_cast<size_t>(i)].k}) {
      weight->resize(static_cast<size_t>(config.adapter_dim * config.d_model));
      for (float& value : *weight) value = static_cast<float>(deviation * rng.normal());
    }
  }
  return adapter;
}

// All that decides the result; a checkpoint may only go on under the same.
nlohmann::ordered_json settings_json(const TrainOptions& options, const AdapterConfig& config,
                                     const Engine& engine, const Corpus& data) {
  nlohmann::ordered_json json;
  json["dtype"] = product_type_name(engine.precision().products);
  json["int8_decode"] = engine.precision().int8_decode;
  json["weights"] = engine.weights().checkpoint.sample_digest();
  json["data"] = data.fingerprint;
  json["fingerprint"] = config.fingerprint;
  json["steps"] = options.steps;
  json["seq_len"] = options.seq_len;
  json["batch_tokens"] = options.batch_tokens;
  json["learning_rate"] = options.learning_rate;
  json["boundary_learning_rate"] = options.boundary_learning_rate;
  json["target"] = enum_name(options.teacher.target);
  json["prompt_end_weight"] = options.teacher.prompt_end_weight;
  json["chat_share"] = options.chat_share;
  json["adapter_dim"] = config.adapter_dim;
  json["first_layer"] = enum_name(config.first_layer);
  json["first_layer_tokens"] = config.first_layer_tokens;
  json["fixed_chunk"] = config.fixed_chunk;
  json["seed"] = options.seed;
  return json;
}

std::optional<ChatTemplate> find_chat_template(const Engine& engine,
                                               const TrainCallbacks& callbacks) {
  try {
    return engine.chat_template();
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kUnsupported) throw;
    callbacks.message(fmt::format("training on plain text only: {}", e.what()));
    return std::nullopt;
  }
}

std::string format_minutes(double seconds) {
  return seconds < 90 ? fmt::format("{:.0f} s", seconds) : fmt::format("{:.1f} min", seconds / 60);
}

// One training run; the parts that its steps share.
class Run {
 public:
  Run(const Engine& engine, const Corpus& data, const Corpus* eval_data,
      const TrainOptions& options, const TrainCallbacks& callbacks, const CancelToken* cancel)
      : engine_(engine),
        options_(options),
        callbacks_(callbacks),
        cancel_(cancel),
        adapter_(initial_adapter(engine.weights(), options)),
        learner_(engine.weights(), adapter_, engine.special_ids(),
                 {.seq_len = options.seq_len, .teacher = options.teacher}),
        parameters_(learner_.parameters()),
        boundary_optimizer_({parameters_.begin(), parameters_.begin() + kBoundaryParameters}, {}),
        selection_optimizer_({parameters_.begin() + kBoundaryParameters, parameters_.end()}, {}),
        chat_(find_chat_template(engine, callbacks)),
        sampler_(data, engine.tokenizer(), chat_ ? &*chat_ : nullptr, options.seq_len,
                 options.chat_share) {
    state_.settings = settings_json(options, adapter_.config, engine, data).dump();
    if (eval_data != nullptr) {
      eval_sampler_.emplace(*eval_data, engine.tokenizer(), chat_ ? &*chat_ : nullptr,
                            options.seq_len, options.chat_share);
    }
  }

  TrainResult run();

 private:
  static constexpr ptrdiff_t kBoundaryParameters = 2;  // weight and bias come first

  void start();
  nlohmann::ordered_json step();
  nlohmann::ordered_json evaluate();
  void add_evaluation(nlohmann::ordered_json& record);
  nlohmann::ordered_json last_logged_record() const;
  void announce(double seconds_a_step) const;
  void save(const nlohmann::ordered_json& losses);
  TrainedState trained() const { return {parameters_, optimizers_}; }

  const Engine& engine_;
  const TrainOptions& options_;
  const TrainCallbacks& callbacks_;
  const CancelToken* cancel_;
  Adapter adapter_;
  Learner learner_;
  std::vector<TrainedParameter> parameters_;
  AdamW boundary_optimizer_;
  AdamW selection_optimizer_;
  std::array<AdamW*, 2> optimizers_{&boundary_optimizer_, &selection_optimizer_};
  std::optional<ChatTemplate> chat_;
  SequenceSampler sampler_;
  std::optional<SequenceSampler> eval_sampler_;
  CheckpointState state_;
  std::optional<ProgressLog> log_;
  nlohmann::ordered_json last_record_ = nlohmann::ordered_json::object();
};

// A new folder, or the state that a run left behind.
void Run::start() {
  make_writable_folder(options_.out);
  const bool has_checkpoint = std::filesystem::exists(checkpoint_path(options_.out));
  if (has_checkpoint && !options_.resume) {
    fail(ErrorCode::kInvalidArgument,
         "{} holds a training already; continue it with --resume or choose another --out",
         options_.out.string());
  }
  Rng rng = sequence_rng(options_.seed, kTrainStream, 0);
  learner_.measure_features(sampler_.draw(rng));
  if (has_checkpoint) {
    state_ = load_checkpoint(options_.out, state_.settings, trained());
    callbacks_.message(fmt::format("resuming after step {} of {}", state_.step, options_.steps));
  } else if (options_.resume) {
    callbacks_.message(fmt::format("{} holds no checkpoint; starting anew", options_.out.string()));
  }
  log_.emplace(options_.out / "train.jsonl",
               has_checkpoint ? std::optional(state_.step) : std::nullopt);
  last_record_ = last_logged_record();
}

// One step on its own draws; throws before anything changes when cancelled.
nlohmann::ordered_json Run::step() {
  const int64_t n_sequences = std::max<int64_t>(1, options_.batch_tokens / options_.seq_len);
  const Timer timer;
  learner_.reset();
  for (int64_t i = 0; i < n_sequences; ++i) {
    if (cancel_ != nullptr) cancel_->check();
    Rng rng = sequence_rng(options_.seed, kTrainStream, state_.step * n_sequences + i);
    const TrainingSequence sequence = sampler_.draw(rng);
    learner_.add(sequence, kSmallestBudget + (1.0 - kSmallestBudget) * rng.uniform(), true);
  }
  learner_.finish_gradients();
  LearningRateSchedule schedule;
  schedule.total_steps = options_.steps;
  schedule.warmup_steps =
      static_cast<int64_t>(std::ceil(kWarmupFraction * static_cast<double>(options_.steps)));
  schedule.final_fraction = kFinalRateFraction;
  schedule.peak = options_.boundary_learning_rate;
  boundary_optimizer_.step(learning_rate_at(schedule, state_.step));
  schedule.peak = options_.learning_rate;
  const double rate = learning_rate_at(schedule, state_.step);
  const double gradient_norm = selection_optimizer_.step(rate);

  const LearnerReport& report = learner_.report();
  state_.step += 1;
  state_.n_tokens += report.n_tokens;
  const double seconds = timer.seconds();
  state_.seconds += seconds;
  nlohmann::ordered_json record;
  record["step"] = state_.step;
  record["tokens"] = state_.n_tokens;
  record["seconds"] = state_.seconds;
  record["tokens_per_second"] = static_cast<double>(report.n_tokens) / seconds;
  record["learning_rate"] = rate;
  record["gradient_norm"] = gradient_norm;
  record.update(report.to_json(adapter_.config));
  return record;
}

// The same draws of the evaluation text each time, at budgets spread over the range trained on.
nlohmann::ordered_json Run::evaluate() {
  learner_.reset();
  for (int64_t i = 0; i < options_.eval_sequences; ++i) {
    if (cancel_ != nullptr) cancel_->check();
    Rng rng = sequence_rng(options_.seed, kEvalStream, i);
    const TrainingSequence sequence = eval_sampler_->draw(rng);
    learner_.add(sequence, kSmallestBudget + (1.0 - kSmallestBudget) * rng.uniform(), false);
  }
  return learner_.report().to_json(adapter_.config);
}

// Called after the first step, which it counts in.
void Run::announce(double seconds_a_step) const {
  const auto steps_left = static_cast<double>(options_.steps - state_.step + 1);
  const int64_t memory =
      engine_.weights().packed_bytes() +
      Learner::memory_bytes(engine_.config(), adapter_.config, {.seq_len = options_.seq_len});
  callbacks_.message(
      fmt::format("training {} parameters ({:.2f}% of the model's) for {:.0f} steps of {} tokens: "
                  "about {}, {} of memory",
                  adapter_.n_parameters(),
                  100.0 * static_cast<double>(adapter_.n_parameters()) /
                      static_cast<double>(engine_.weights().n_parameters()),
                  steps_left, options_.batch_tokens, format_minutes(seconds_a_step * steps_left),
                  format_bytes(memory)));
}

// Checkpoint and adapter folder, as they are after the last whole step.
void Run::save(const nlohmann::ordered_json& losses) {
  save_checkpoint(options_.out, state_, trained());
  learner_.update_adapter();
  nlohmann::ordered_json training = nlohmann::ordered_json::parse(state_.settings);
  training["steps_done"] = state_.step;
  training["tokens"] = state_.n_tokens;
  training["losses"] = losses;
  adapter_.config.training = training.dump();
  save_adapter(adapter_, options_.out);
}

// The record that the log ends with, for a run that has nothing left to do.
nlohmann::ordered_json Run::last_logged_record() const {
  const std::vector<nlohmann::json> records = read_progress_log(options_.out / "train.jsonl");
  return records.empty() ? nlohmann::ordered_json::object()
                         : nlohmann::ordered_json(records.back());
}

// Measures on the evaluation text. The step stays logged if this is interrupted.
void Run::add_evaluation(nlohmann::ordered_json& record) {
  try {
    record["eval"] = evaluate();
  } catch (const Error&) {
    log_->write(record);
    throw;
  }
}

TrainResult Run::run() {
  start();
  nlohmann::ordered_json record = last_record_;
  const int64_t first_step = state_.step;
  try {
    while (state_.step < options_.steps) {
      const double seconds_before = state_.seconds;
      record = step();
      if (state_.step == first_step + 1) announce(state_.seconds - seconds_before);
      const bool last = state_.step == options_.steps;
      if (eval_sampler_ && (last || state_.step % options_.eval_every == 0)) add_evaluation(record);
      log_->write(record);
      callbacks_.progress(state_.step, options_.steps);
      if (last || state_.step % options_.save_every == 0) save(record);
    }
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kInterrupted) throw;
    if (state_.step > first_step) save(record);
    fail(ErrorCode::kInterrupted, "interrupted after step {} of {}; --resume continues from there",
         state_.step, options_.steps);
  }
  if (first_step ==
      options_.steps) {  // resumed with nothing left to train: a write may have failed
    if (eval_sampler_) record["eval"] = evaluate();
    save(record);
  }
  TrainResult result;
  result.steps = state_.step;
  result.n_tokens = state_.n_tokens;
  result.seconds = state_.seconds;
  result.loss = record.value("loss_bce", 0.0) + record.value("loss_kl", 0.0);
  if (record.contains("eval")) result.eval = record["eval"];
  return result;
}

void check_options(const TrainOptions& options) {
  const auto require = [](bool fine, const char* what) {
    if (!fine) fail(ErrorCode::kInvalidArgument, "{}", what);
  };
  require(options.seq_len >= 256, "--seq-len must be at least 256");
  require(options.steps >= 1, "--steps must be at least 1");
  require(options.batch_tokens >= options.seq_len, "--batch-tokens must be at least --seq-len");
  require(options.learning_rate > 0 && options.learning_rate <= 1,
          "--lr must be above 0 and at most 1");
  require(options.boundary_learning_rate > 0 && options.boundary_learning_rate <= 1,
          "--boundary-lr must be above 0 and at most 1");
  require(options.chat_share >= 0 && options.chat_share <= 1,
          "--chat-share must lie between 0 and 1");
  require(options.teacher.prompt_end_weight >= 0 && options.teacher.prompt_end_weight <= 1000,
          "--prompt-end-weight must lie between 0 and 1000");
  require(options.save_every >= 1 && options.eval_every >= 1, "intervals must be at least 1 step");
}

}  // namespace

TrainResult train_adapters(const Engine& engine, const Corpus& data, const Corpus* eval_data,
                           const TrainOptions& options, const TrainCallbacks& callbacks,
                           const CancelToken* cancel) {
  check_options(options);
  AdapterConfig config = AdapterConfig::for_model(engine.weights());
  if (std::ssize(config.backbone_layers) == config.n_layers) {
    fail(ErrorCode::kUnsupported,
         "every layer of this model slides over a window of {} tokens; there is nothing to select",
         engine.config().window);
  }
  if (options.adapter_dim > 0) config.adapter_dim = options.adapter_dim;
  require_memory(Learner::memory_bytes(engine.config(), config, {.seq_len = options.seq_len}),
                 fmt::format("training on sequences of {} tokens", options.seq_len),
                 "use a smaller --seq-len");
  return Run(engine, data, eval_data, options, callbacks, cancel).run();
}

}  // namespace chunkllm
