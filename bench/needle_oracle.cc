#include "needle_oracle.h"

#include <algorithm>
#include <vector>

#include "testing/traced_chunk_policy.h"
#include "train/teacher.h"

namespace chunkllm {
namespace {

constexpr int64_t kBlockTokens = 512;

SessionOptions options_for(const Engine& engine, const PolicyEntry& policy, const KvBudget& budget,
                           int64_t ctx) {
  SessionOptions options;
  options.policy = &policy;
  options.selection.budget = budget;
  options.ctx = ctx;
  options.kv_type =
      engine.precision().products == ProductType::kBf16 ? KvType::kBf16 : KvType::kF32;
  return options;
}

GenerateResult complete(const Engine& engine, Session& session, std::span<const int32_t> prompt,
                        int64_t max_tokens) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.eos_ids = engine.eos_ids();
  const int64_t end = std::ssize(prompt) - 1;
  return generate(session, engine.tokenizer(), prompt, {&end, 1}, options);
}

// Labels that give the same chunks as the recorded boundaries.
TrainingSequence sequence_of(const std::vector<int32_t>& ids, int64_t prompt_end,
                             const test::SelectionTrace& trace) {
  TrainingSequence sequence;
  sequence.ids = ids;
  sequence.labels.assign(ids.size(), 0);
  for (const int64_t t : trace.boundaries) {
    if (t < std::ssize(ids)) sequence.labels[static_cast<size_t>(t)] = 1;
  }
  sequence.prompt_ends = {prompt_end};
  return sequence;
}

}  // namespace

OracleAnswer ask_oracle(const Engine& engine, std::span<const int32_t> prompt,
                        const KvBudget& budget, int64_t max_tokens) {
  const int64_t ctx = std::ssize(prompt) + max_tokens;
  const AdapterConfig& config = engine.adapter()->config;
  const std::vector<int32_t> special_ids = engine.special_ids();

  // The dense answer, and where chunks end under it.
  std::vector<int32_t> ids(prompt.begin(), prompt.end());
  {
    Session session(engine, options_for(engine, full_policy(), budget, ctx));
    const GenerateResult dense = complete(engine, session, prompt, max_tokens);
    ids.insert(ids.end(), dense.ids.begin(), dense.ids.end());
  }
  test::SelectionTrace trace;
  {
    KvBudget everything;
    everything.fraction = 1.0;
    Session session(engine,
                    test::traced(options_for(engine, policy_named("chunk"), everything, ctx)));
    test::trace_of(session).record(&trace);
    const int64_t end = std::ssize(prompt) - 1;
    const Range answer{end + 1, std::ssize(ids)};
    session.prefill(ids, {&end, 1}, {}, nullptr, {&answer, answer.empty() ? size_t{0} : size_t{1}});
  }

  const TrainingSequence sequence = sequence_of(ids, std::ssize(prompt) - 1, trace);
  const ChunkTrack sentences = sentence_track(sequence, config, special_ids);
  const ChunkTrack grid = grid_track(sequence, config, special_ids);
  TeacherPass teacher(engine.config(), config, sequence,
                      {.first_layer = config.selects(0) ? &grid : nullptr, .others = &sentences});
  KvCache cache(engine.config(), ctx, KvType::kBf16);
  Transformer transformer(engine.weights(), kBlockTokens);
  for (int64_t begin = 0; begin < std::ssize(ids); begin += kBlockTokens) {
    const int64_t n = std::min(kBlockTokens, std::ssize(ids) - begin);
    transformer.forward(std::span(ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(n)),
                        begin, cache, teacher);
  }

  const Lesson taught = teacher.finish();
  for (int64_t layer = 0; layer < engine.config().n_layers; ++layer) {
    const LayerLesson& lesson = taught.layers[static_cast<size_t>(layer)];
    const std::vector<Bf16>& masses = lesson.masses[static_cast<size_t>(MassOf::kNext)];
    size_t offset = 0;
    auto& choices = trace.choices[layer];
    choices.clear();
    for (size_t i = 0; i < lesson.positions.size(); ++i) {
      const int64_t position = lesson.positions[i];
      std::vector<float> row;
      for (int64_t j = 0; j < lesson.eligible[i].size(); ++j) {
        row.push_back(to_float(masses[offset++]));
      }
      SelectionLimits limits{
          .sink = config.sink, .window = config.window, .budget = budget.n_tokens};
      choices[{position, position + 1, false}] =
          select_chunks(layer == 0 ? grid : sentences, position, limits, row).chunks;
    }
  }
  trace.n_tokens = std::ssize(ids);
  // Prompts are read in full: the oracle chooses at prompt ends and in answers.
  SessionOptions options = options_for(engine, policy_named("chunk"), budget, ctx);
  options.selection.prefill = PrefillKind::kFull;
  Session session(engine, test::traced(options));
  test::TraceDifferences differences;
  test::trace_of(session).replay(&trace, &differences);
  const GenerateResult result = complete(engine, session, prompt, max_tokens);
  return {result.text, result.retention};
}

}  // namespace chunkllm
