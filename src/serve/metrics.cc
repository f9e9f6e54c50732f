#include "serve/metrics.h"

#include <fmt/format.h>

#include <string_view>

namespace chunkllm::serve {
namespace {

void add(std::string& text, std::string_view name, std::string_view type, std::string_view help,
         double value) {
  text += fmt::format("# HELP chunkllm:{0} {1}\n# TYPE chunkllm:{0} {2}\nchunkllm:{0} {3}\n", name,
                      help, type, value);
}

}  // namespace

std::string metrics_text(const Metrics& m) {
  std::string text;
  const auto counter = [&](std::string_view name, std::string_view help, double value) {
    add(text, name, "counter", help, value);
  };
  const auto gauge = [&](std::string_view name, std::string_view help, double value) {
    add(text, name, "gauge", help, value);
  };
  const auto number = [](const std::atomic<int64_t>& n) { return static_cast<double>(n.load()); };
  const double passes = number(m.passes);
  const auto mean = [&](double sum) { return passes > 0 ? sum / passes : 0.0; };
  counter("requests_total", "Completions asked for.", number(m.jobs));
  counter("requests_failed_total", "Completions that ended in an error.", number(m.failed_jobs));
  counter("requests_cancelled_total", "Completions whose client left.", number(m.cancelled_jobs));
  counter("prompt_tokens_total", "Prompt tokens that ran.", number(m.prompt_tokens));
  counter("prompt_tokens_cached_total", "Prompt tokens that did not have to run.",
          number(m.cached_tokens));
  counter("prefix_hits_total", "Completions whose prompt was known in part.",
          number(m.prefix_hits));
  counter("tokens_predicted_total", "Tokens generated.", number(m.generated_tokens));
  counter("refreshes_total", "Times that selections were renewed.", number(m.refreshes));
  counter("prompt_seconds_total", "Time from the first block of prompts to their first token.",
          m.prefill_seconds);
  counter("tokens_predicted_seconds_total", "Time of passes that generate.", m.decode_seconds);
  gauge("kv_retention", "Share of the cache attended, mean over generating passes.",
        mean(m.retention_sum));
  gauge("kv_bytes_attended", "Keys and values attended, mean over generating passes.",
        mean(m.kv_bytes_attended_sum));
  counter("missed_mass_samples_total", "Selections compared with full attention (--audit).",
          number(m.missed_mass_samples));
  counter("missed_mass_sum", "Shares of full attention that these missed.", m.missed_mass_sum);
  gauge("kv_bytes_stored", "Keys and values of the slots.", number(m.kv_bytes_stored));
  gauge("kv_bytes_resident", "Those of them that are in memory.", number(m.kv_bytes_resident));
  gauge("kv_bytes_parked", "Keys and values in memory that no slot has.",
        number(m.kv_bytes_parked));
  gauge("kv_bytes_on_disk", "Files of keys and values.", number(m.kv_bytes_on_disk));
  counter("prefix_saves_failed_total", "Files of keys and values that could not be written.",
          number(m.failed_saves));
  gauge("requests_deferred", "Completions that wait for a slot.", number(m.queued));
  gauge("requests_reading", "Completions whose prompt is read.", number(m.reading));
  gauge("requests_processing", "Completions that run.", number(m.reading) + number(m.writing));
  return text;
}

}  // namespace chunkllm::serve
