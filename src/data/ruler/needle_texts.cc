// RULER's needle tasks.

#include <algorithm>

#include "base/error.h"
#include "data/block_items.h"
#include "data/facts.h"
#include "data/ruler/noise.h"
#include "data/ruler/ruler.h"
#include "text/utf8.h"

namespace chunkllm {
namespace {

enum class HayKind { kNoise, kEssay, kNeedles };

// One of the tasks.
struct NeedleTask {
  RetrievalTask task = RetrievalTask::kNiahSingle1;
  HayKind hay = HayKind::kEssay;
  NeedleValue keys = NeedleValue::kWords;
  NeedleValue values = NeedleValue::kNumbers;
  int64_t n_keys = 1;
  int64_t n_values = 1;  // of each key
  int64_t n_asked = 1;   // keys
};

constexpr NeedleTask kNeedleTasks[] = {
    {.task = RetrievalTask::kNiahSingle1, .hay = HayKind::kNoise},
    {.task = RetrievalTask::kNiahSingle2},
    {.task = RetrievalTask::kNiahSingle3, .values = NeedleValue::kUuids},
    {.task = RetrievalTask::kNiahMultikey1, .n_keys = 4},
    {.task = RetrievalTask::kNiahMultikey2, .hay = HayKind::kNeedles},
    {.task = RetrievalTask::kNiahMultikey3,
     .hay = HayKind::kNeedles,
     .keys = NeedleValue::kUuids,
     .values = NeedleValue::kUuids},
    {.task = RetrievalTask::kNiahMultivalue, .n_values = 4},
    {.task = RetrievalTask::kNiahMultiquery, .n_keys = 4, .n_asked = 4},
};

const NeedleTask* find_task(RetrievalTask task) {
  const auto* found = std::ranges::find(kNeedleTasks, task, &NeedleTask::task);
  return found != std::end(kNeedleTasks) ? found : nullptr;
}

std::string join_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) {
    if (!text.empty()) text += '\n';
    text += line;
  }
  return text;
}

// Lines of noise, or needles that nobody asks for, none of which has a key or value of `taken`. At
// least one more than `n_needles`.
std::vector<std::string> make_lines(Rng& rng, const NeedleTask& task, int64_t n_needles,
                                    const TakenNames& taken, int64_t n_bytes) {
  std::vector<std::string> lines;
  for (int64_t size = 0; size < n_bytes || std::ssize(lines) <= n_needles;
       size += std::ssize(lines.back()) + 1) {
    if (task.hay == HayKind::kNoise) {
      lines.emplace_back(kNoiseLine);
      continue;
    }
    TakenNames asked = taken;
    const std::string key = make_needle_value(rng, task.keys, asked);
    lines.push_back(needle_sentence(task.values, key, make_needle_value(rng, task.values, asked)));
  }
  return lines;
}

// Needles stand at some of 40 depths, evenly from the begin to the end.
std::string hide_in_essay(Rng& rng, std::string_view passage,
                          const std::vector<std::string>& needles) {
  constexpr int64_t kDepths = 40;
  std::vector<double> depths;
  for (const int64_t depth : draw_places(rng, kDepths, std::ssize(needles))) {
    depths.push_back(static_cast<double>(depth) / (kDepths - 1));
  }
  return hide_facts_at(with_single_blanks(passage), needles, depths, nullptr);
}

}  // namespace

bool hides_in_essay(RetrievalTask task) {
  const NeedleTask* found = find_task(task);
  return found != nullptr && found->hay == HayKind::kEssay;
}

RulerText make_needle_text(Rng& rng, RetrievalTask which, std::string_view passage,
                           int64_t n_bytes) {
  const NeedleTask* task = find_task(which);
  if (task == nullptr) {
    fail(ErrorCode::kInvalidArgument, "the task '{}' hides no needles", enum_name(which));
  }
  TakenNames taken;
  std::vector<std::string> keys;
  std::vector<std::vector<std::string>> values;
  std::vector<std::string> needles;
  for (int64_t i = 0; i < task->n_keys; ++i) {
    keys.push_back(make_needle_value(rng, task->keys, taken));
    values.emplace_back();
    for (int64_t j = 0; j < task->n_values; ++j) {
      values.back().push_back(make_needle_value(rng, task->values, taken));
      needles.push_back(needle_sentence(task->values, keys.back(), values.back().back()));
    }
  }
  shuffle(rng, needles);
  std::string context;
  if (task->hay == HayKind::kEssay) {
    context = hide_in_essay(rng, passage, needles);
  } else {
    std::vector<std::string> lines = make_lines(rng, *task, std::ssize(needles), taken, n_bytes);
    const std::vector<int64_t> places = draw_places(rng, std::ssize(lines), std::ssize(needles));
    for (size_t i = places.size(); i-- > 0;) {
      lines.insert(lines.begin() + places[i], needles[i]);
    }
    context = join_lines(lines);
  }
  std::vector<std::string> asked;
  RetrievalQuestion question;
  for (const int64_t i : draw_places(rng, task->n_keys, task->n_asked)) {
    const auto at = static_cast<size_t>(i);
    asked.push_back(keys[at]);
    question.expected.insert(question.expected.end(), values[at].begin(), values[at].end());
  }
  const bool is_one = question.expected.size() == 1;
  const std::string noun = needle_noun(task->values, is_one);
  question.question = "\n" + needle_question(task->values, asked, question.expected.size());
  question.answer_begin =
      fmt::format(" The special magic {} for {} mentioned in the provided text {}", noun,
                  list_of_keys(asked), is_one ? "is" : "are");
  const std::string head = fmt::format(
      "{} special magic {} {} hidden within the following text. Make sure to memorize it. I will "
      "quiz you about the {} afterwards.\n",
      is_one ? "A" : "Some", noun, is_one ? "is" : "are", noun);
  return {head + context, {std::move(question)}};
}

}  // namespace chunkllm
