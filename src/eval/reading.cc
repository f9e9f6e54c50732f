#include "eval/reading.h"

#include <algorithm>

#include "base/timer.h"
#include "engine/common_prefix.h"
#include "engine/session_memory.h"
#include "eval/columns.h"

namespace chunkllm {
namespace {

bool reads_in_full(const EvalColumn& column) {
  return !column.policy->selects() || (column.policy->reads(Setting::kPrefill) &&
                                       column.selection.prefill == PrefillKind::kFull);
}

// Answers all prompts in one session. What they have in common is read with the first, or is there
// already.
ColumnAnswers ask_all(Session& session, std::span<const Prompt> prompts, const AskOptions& options,
                      const Session::Progress& progress, const CancelToken* cancel,
                      GenerateResult* first) {
  ColumnAnswers answers;
  for (size_t i = 0; i < prompts.size(); ++i) {
    GenerateResult result =
        generate(session, session.engine().tokenizer(), prompts[i], options.answers[i], {},
                 i == 0 ? progress : Session::Progress{}, cancel);
    answers.cost.add(result);
    answers.answers.push_back(result.text);
    answers.longest = std::max(answers.longest, prompts[i].n_tokens());
    if (i == 0) *first = std::move(result);
  }
  if (session.missed_mass() != nullptr) answers.missed = session.missed_mass()->all;
  return answers;
}

}  // namespace

bool reads_for(const EvalColumn& reader, const EvalColumn& served, const AdapterSet& adapters,
               int64_t ctx) {
  if (!served.policy->selects()) return reads_in_full(reader);
  if (reader.policy != served.policy || !reader.policy->reads(Setting::kPrefill)) return false;
  if (reader.selection.prefill != served.selection.prefill) return false;
  if (reads_in_full(reader)) return true;
  const int64_t least_a = least_budget(*reader.policy, reader.selection, adapters);
  const int64_t least_b = least_budget(*served.policy, served.selection, adapters);
  for (int64_t t = 0; t < ctx; ++t) {
    if (reader.selection.prefill_tokens_at(t, least_a) !=
        served.selection.prefill_tokens_at(t, least_b)) {
      return false;
    }
  }
  return true;
}

std::vector<std::vector<const EvalColumn*>> group_by_reading(
    std::span<const EvalColumn* const> columns, const AdapterSet& adapters, int64_t ctx) {
  // Full attention can be served by others, and serves none.
  std::vector<const EvalColumn*> ordered(columns.begin(), columns.end());
  std::stable_partition(ordered.begin(), ordered.end(),
                        [](const EvalColumn* column) { return column->policy->selects(); });
  std::vector<std::vector<const EvalColumn*>> groups;
  for (const EvalColumn* column : ordered) {
    const auto group = std::ranges::find_if(
        groups, [&](const auto& other) { return reads_for(*other[0], *column, adapters, ctx); });
    if (group != groups.end()) {
      group->push_back(column);
    } else {
      groups.push_back({column});
    }
  }
  return groups;
}

CellResult ColumnAnswers::cell() const {
  CellResult result;
  result.decode = cost.decode;
  result.prefill = cost.prefill;
  result.missed = missed;
  result.seconds = seconds;
  result.details = {{"prompt_tokens", longest},
                    {"read_by", reader->name()},
                    {"prefill_seconds", cost.prefill_seconds},
                    {"prefilled_tokens", cost.n_prefilled},
                    {"decode_seconds", cost.decode_seconds},
                    {"decoded_tokens", cost.n_decoded}};
  return result;
}

void require_memory_for(const Engine& engine, std::span<const int64_t> lengths, KvType kv_type) {
  SessionOptions session;
  session.ctx = std::ranges::max(lengths);
  session.kv_type = kv_type;
  require_session_memory(engine, session);
}

void ask_columns(const Engine& engine, std::span<const Prompt> prompts,
                 std::span<const EvalColumn* const> columns, const AskOptions& options,
                 const std::function<void(const EvalColumn&, const ColumnAnswers&)>& done,
                 const std::function<void(int64_t n_tokens)>& progress, const CancelToken* cancel) {
  int64_t ctx = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    ctx = std::max(ctx, prompts[i].n_tokens() + options.answers[i].max_tokens);
  }
  const auto session_options = [&](const EvalColumn& column) {
    SessionOptions session;
    session.policy = column.policy;
    session.selection = column.selection;
    session.ctx = ctx;
    session.kv_type = options.kv_type;
    session.audit_every = options.audit_every;
    return session;
  };
  const auto on_tokens = [&](int64_t n_done, int64_t) { progress(n_done); };
  for (const auto& group : group_by_reading(columns, engine.adapters(), ctx)) {
    const EvalColumn& reader = *group[0];
    Timer timer;
    Session read(engine, session_options(reader));
    GenerateResult first;
    ColumnAnswers answers = ask_all(read, prompts, options, on_tokens, cancel, &first);
    answers.reader = &reader;
    answers.seconds = timer.seconds();
    done(reader, answers);
    for (const EvalColumn* column : std::span(group).subspan(1)) {
      timer = Timer();
      Session session(engine, session_options(*column));
      copy_prefix(read, prompts[0], session);
      GenerateResult served;
      answers = ask_all(session, prompts, options, {}, cancel, &served);
      // The reading was the other column's; this one would have had the same.
      AnswerCost& cost = answers.cost;
      cost.prefill.rows_attended += first.prefill.rows_attended - served.prefill.rows_attended;
      cost.prefill.rows_visible += first.prefill.rows_visible - served.prefill.rows_visible;
      cost.prefill_seconds += first.prefill_seconds - served.prefill_seconds;
      cost.n_prefilled += served.cached_tokens - first.cached_tokens;
      if (!column->policy->selects()) cost.prefill.rows_attended = cost.prefill.rows_visible;
      answers.reader = &reader;
      answers.seconds = timer.seconds();
      done(*column, answers);
    }
  }
}

}  // namespace chunkllm
