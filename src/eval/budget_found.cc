#include "eval/budget_found.h"

#include <algorithm>
#include <cmath>

#include "eval/cells.h"

namespace chunkllm {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kDigits = 4;

void put_ratio(Json& json, const std::string& name, const EvalRow* row) {
  const bool is_there = row != nullptr && row->ratio;
  json[name] = is_there ? number_or_null(row->ratio->value) : Json();
  json[name + "_error"] =
      is_there && row->n_samples > 1 ? number_or_null(row->ratio->error) : Json();
}

void put_tried(Json& json, const TriedBudget& tried) {
  json["kv_budget"] = budget_json(tried.column->kv_budget);
  json["kv_retention"] = tried.row.decode.kv_retention();
  put_ratio(json, "ratio", &tried.row);
  put_ratio(json, "perplexity_ratio", tried.text ? &*tried.text : nullptr);
}

Json speed_up(std::optional<double> rate, std::optional<double> of_full) {
  return rate && of_full ? Json(*rate / *of_full) : Json();
}

std::string show_factor(const Json& factor) {
  return factor.is_number() ? fmt::format("{:.2f}x", factor.get<double>()) : "-";
}

std::string show_ratio(const EvalRow& row) {
  return row.ratio ? show_estimate(*row.ratio, row.n_samples, kDigits) : "-";
}

}  // namespace

std::string show_tried(const TriedBudget* tried) {
  if (tried == nullptr) return "-";
  const std::string score = tried->column->kv_budget + ": " + show_ratio(tried->row);
  return tried->text ? score + ", perplexity " + show_ratio(*tried->text) : score;
}

const TriedBudget* FoundBudget::tried_of(const EvalColumn* column) const {
  const auto found = std::ranges::find(tried, column, &TriedBudget::column);
  return found != tried.end() ? &*found : nullptr;
}

Json FoundBudget::to_json(double keep) const {
  Json json;
  json["ctx"] = ctx;
  json["policy"] = line[0]->policy->name;
  json["prefill"] = line[0]->prefill.empty() ? Json() : Json(line[0]->prefill);
  json["keep"] = keep;
  json["full_score"] = full.score.value;
  if (const TriedBudget* recommended = tried_of(best)) {
    put_tried(json, *recommended);
    const EvalSpeed& speed = recommended->row.speed;
    json["prefill_speedup"] =
        speed_up(speed.prefill_tokens_per_second(), full.speed.prefill_tokens_per_second());
    json["decode_speedup"] =
        speed_up(speed.decode_tokens_per_second(), full.speed.decode_tokens_per_second());
  } else {
    json["kv_budget"] = nullptr;
  }
  Json smaller;
  if (const TriedBudget* after = tried_of(next)) put_tried(smaller, *after);
  json["next_smaller"] = std::move(smaller);
  json["notes"] = notes;
  Json list = Json::array();
  for (const TriedBudget& one : tried) {
    Json entry;
    put_tried(entry, one);
    entry["keeps"] = one.keeps;
    list.push_back(std::move(entry));
  }
  json["tried"] = std::move(list);
  return json;
}

std::string budget_table(std::span<const FoundBudget> founds, double keep) {
  std::string table = fmt::format(
      "| context | policy | score of full | --kv-budget that keeps {:g}% | KV retention | kept "
      "| perplexity of full | next smaller | prefill | decode |\n"
      "|---|---|---|---|---|---|---|---|---|---|\n",
      100 * keep);
  std::string notes;
  for (const FoundBudget& found : founds) {
    const EvalColumn& column = *found.line[0];
    std::string policy(column.policy->name);
    if (!column.prefill.empty()) policy += ", prefill " + column.prefill;
    for (const std::string& note : found.notes) {
      notes += fmt::format("{} at {} tokens: {}\n", policy, found.ctx, note);
    }
    const std::string full = show_estimate(found.full.score, found.full.n_samples, 3);
    const TriedBudget* best = found.tried_of(found.best);
    if (best == nullptr) {
      table +=
          fmt::format("| {} | {} | {} | none | - | - | - | - | - | - |\n", found.ctx, policy, full);
      continue;
    }
    const Json json = found.to_json(keep);
    table += fmt::format(
        "| {} | {} | {} | {} | {:.1f}% | {} | {} | {} | {} | {} |\n", found.ctx, policy, full,
        best->column->kv_budget, 100 * best->row.decode.kv_retention(), show_ratio(best->row),
        best->text ? show_ratio(*best->text) : "-", show_tried(found.tried_of(found.next)),
        show_factor(json["prefill_speedup"]), show_factor(json["decode_speedup"]));
  }
  return notes.empty() ? table : table + "\n" + notes;
}

}  // namespace chunkllm
