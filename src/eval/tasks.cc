#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "eval/attention/icac.h"
#include "eval/attention/recall.h"
#include "eval/benchmarks/leval.h"
#include "eval/benchmarks/longbench.h"
#include "eval/choice.h"
#include "eval/niah.h"
#include "eval/ppl.h"
#include "eval/retrieval.h"
#include "eval/ruler.h"
#include "eval/task.h"

namespace chunkllm {
namespace {

constexpr std::string_view kNiahSettings[] = {"--ctx",     "--data",   "--samples", "--questions",
                                              "--needles", "--values", "--depths"};
constexpr std::string_view kNiahShown[] = {
    enum_name(NeedleKind::kSingle), enum_name(NeedleKind::kMultiKey),
    enum_name(NeedleKind::kMultiValue), enum_name(NeedleKind::kMultiQuery)};
constexpr std::string_view kBudgetSettings[] = {"--ctx",     "--data",   "--samples", "--questions",
                                                "--needles", "--values", "--depths",  "--keep"};
constexpr std::string_view kTextSettings[] = {"--ctx", "--data", "--samples"};
constexpr std::string_view kRecallSettings[] = {"--ctx", "--data", "--samples", "--questions"};
constexpr std::string_view kPplShown[] = {kLastHalf};
constexpr std::string_view kChoiceShown[] = {kByLength};
constexpr std::string_view kLevalSettings[] = {"--ctx", "--data", "--samples", "--tasks"};
constexpr std::string_view kLevalShown[] = {
    "coursera", "quality", "tpo", "gsm100", "topic_retrieval_longchat", "sci_fi", "f1", "rouge-l"};
constexpr std::string_view kLongbenchSettings[] = {"--ctx", "--data", "--samples", "--tasks",
                                                   "--prompts"};
constexpr std::string_view kLongbenchShown[] = {"narrativeqa",
                                                "qasper",
                                                "multifieldqa_en",
                                                "hotpotqa",
                                                "2wikimqa",
                                                "musique",
                                                "gov_report",
                                                "qmsum",
                                                "multi_news",
                                                "trec",
                                                "triviaqa",
                                                "samsum",
                                                "passage_count",
                                                "passage_retrieval_en",
                                                "lcc",
                                                "repobench-p"};

constexpr std::string_view kRetrievalSettings[] = {
    "--ctx", "--data", "--samples", "--questions", "--tasks", "--values", "--pairs"};
constexpr auto kRetrievalShown = [] {
  std::array<std::string_view, kEnumNames<RetrievalTask>.size()> names;
  std::ranges::transform(kEnumNames<RetrievalTask>, names.begin(), &EnumName<RetrievalTask>::name);
  return names;
}();

constexpr EvalTask kTasks[] = {
    {.name = "niah",
     .help = "needles in a haystack",
     .reads_prompts = true,
     .settings = kNiahSettings,
     .shown = kNiahShown,
     .takes_more_samples = true,
     .prepare = prepare_niah},
    {.name = "retrieval",
     .help = "RULER's tasks and pairs in JSON",
     .reads_prompts = true,
     .settings = kRetrievalSettings,
     .shown = kRetrievalShown,
     .prepare = prepare_retrieval},
    {.name = "ruler",
     .help = "RULER's own lines",
     .reads_prompts = true,
     .settings = kTextSettings,
     .shown = kRetrievalShown,
     .prepare = prepare_ruler},
    {.name = "ppl",
     .help = "perplexity of texts",
     .score_kind = ScoreKind::kPerplexity,
     .settings = kTextSettings,
     .shown = kPplShown,
     .takes_more_samples = true,
     .prepare = prepare_ppl},
    {.name = "choice",
     .help = "multiple choice by likelihood",
     .settings = kTextSettings,
     .shown = kChoiceShown,
     .prepare = prepare_choice},
    {.name = "leval",
     .help = "L-Eval's documents and questions",
     .reads_prompts = true,
     .settings = kLevalSettings,
     .shown = kLevalShown,
     .prepare = prepare_leval},
    {.name = "longbench",
     .help = "LongBench's English and code datasets",
     .reads_prompts = true,
     .settings = kLongbenchSettings,
     .shown = kLongbenchShown,
     .prepare = prepare_longbench},
    {.name = "budget",
     .help = "the smallest budget that keeps a share of full",
     .reads_prompts = true,
     .settings = kBudgetSettings,
     .shown = kNiahShown,
     .searches_budget = true,
     .takes_more_samples = true,
     .prepare = prepare_niah},
    {.name = "recall",
     .help = "how much of the model's attention choices of chunks capture, by layer",
     .has_policies = false,
     .settings = kRecallSettings,
     .takes_more_samples = true,
     .prepare = prepare_recall},
    {.name = "icac",
     .help = "how consistent attention is inside chunks, by layer",
     .has_policies = false,
     .settings = kTextSettings,
     .takes_more_samples = true,
     .prepare = prepare_icac},
};

}  // namespace

uint64_t sample_seed(uint64_t seed, int64_t ctx, int64_t sample) {
  return Rng(seed * 1000003 + static_cast<uint64_t>(ctx)).next() + static_cast<uint64_t>(sample);
}

std::vector<EvalUnit> units_of_lengths(std::span<const int64_t> ctx, int64_t n_samples) {
  std::vector<EvalUnit> units;
  for (const int64_t length : ctx) {
    for (int64_t i = 0; i < n_samples; ++i) units.push_back({length, i, length});
  }
  return units;
}

std::vector<EvalUnit> units_of_texts(std::span<const int64_t> ctx,
                                     std::span<const int64_t> n_tokens) {
  std::vector<EvalUnit> units;
  for (const int64_t length : ctx) {
    for (size_t i = 0; i < n_tokens.size(); ++i) {
      units.push_back({length, static_cast<int64_t>(i), std::min(n_tokens[i], length)});
    }
  }
  return units;
}

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
