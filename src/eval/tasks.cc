#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "eval/choice.h"
#include "eval/ppl.h"
#include "eval/task.h"

namespace chunkllm {
namespace {

constexpr std::string_view kPplSettings[] = {"--ctx", "--data", "--samples"};
constexpr std::string_view kChoiceSettings[] = {"--ctx", "--data", "--samples"};

constexpr EvalTask kTasks[] = {
    {.name = "ppl",
     .help = "perplexity of texts",
     .score_kind = ScoreKind::kPerplexity,
     .settings = kPplSettings,
     .prepare = prepare_ppl},
    {.name = "choice",
     .help = "multiple choice by likelihood",
     .settings = kChoiceSettings,
     .prepare = prepare_choice},
};

}  // namespace

bool EvalTask::reads(std::string_view option) const {
  return std::ranges::find(settings, option) != settings.end();
}

double EvalTask::score(const Measure& measure) const {
  const double mean = measure.n > 0 ? measure.sum / measure.n : 0.0;
  switch (score_kind) {
    case ScoreKind::kMean:
      return mean;
    case ScoreKind::kPerplexity:
      return std::exp(-mean);
  }
  return mean;
}

std::span<const EvalTask> eval_tasks() { return kTasks; }

const EvalTask& eval_task_named(std::string_view name) {
  const auto found = std::ranges::find(kTasks, name, &EvalTask::name);
  if (found != std::end(kTasks)) return *found;
  std::string list;
  for (const EvalTask& task : kTasks) {
    list += list.empty() ? "" : &task == std::end(kTasks) - 1 ? " or " : ", ";
    list += task.name;
  }
  fail(ErrorCode::kInvalidArgument, "there is no task '{}'; name {}", name, list);
}

std::string eval_task_help() {
  std::string text;
  for (const EvalTask& task : kTasks) {
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", task.name, task.help);
  }
  return text;
}

}  // namespace chunkllm
