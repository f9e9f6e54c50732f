#include "eval/ppl.h"

#include <cmath>

#include "base/error.h"
#include "base/timer.h"
#include "data/synthetic.h"
#include "engine/likelihood.h"
#include "eval/text_windows.h"

namespace chunkllm {
namespace {

class PplWork : public EvalWork {
 public:
  PplWork(const Engine& engine, const EvalOptions& options)
      : engine_(engine),
        options_(options),
        windows_(engine, options_,
                 [](Rng& rng, int64_t, int64_t n_bytes) { return make_text(rng, n_bytes); }) {}

  std::vector<EvalUnit> units() const override { return windows_.units(); }

  nlohmann::ordered_json settings() const override {
    return {{"--ctx", options_.ctx},
            {"--samples", options_.n_samples},
            {"text", windows_.fingerprint()}};
  }

  std::vector<std::string> notes() const override { return windows_.notes(); }

  void run(const EvalUnit& unit, std::span<const EvalColumn* const> columns, const CellDone& done,
           const Progress& progress, const CancelToken* cancel) override {
    const std::vector<int32_t> ids = windows_.ids(unit);
    for (const EvalColumn* column : columns) {
      const Timer timer;
      SessionOptions session_options;
      session_options.policy = column->policy;
      session_options.selection = column->selection;
      session_options.kv_type = options_.kv_type;
      session_options.audit_every = options_.audit_every;
      session_options.ctx = unit.ctx;
      Session session(engine_, session_options);
      const Likelihood likelihood = score_text(
          session, ids, 1, [&](int64_t n, int64_t) { progress(n); }, cancel);
      CellResult result;
      result.decode = likelihood.retention;
      if (session.missed_mass() != nullptr) result.missed = session.missed_mass()->all;
      Measure& all = result.measures[kScore];
      Measure& last = result.measures[kLastHalf];
      for (size_t i = 0; i < likelihood.log_probs.size(); ++i) {
        const Measure one{likelihood.log_probs[i], 1};
        all += one;
        if (static_cast<int64_t>(i) >= unit.ctx / 2) last += one;
      }
      if (!std::isfinite(all.sum)) {
        fail(ErrorCode::kData,
             "the likelihood of a text of {} tokens under {} is no number; are the weights sound?",
             unit.ctx, column->name());
      }
      result.seconds = timer.seconds();
      done(*column, result);
    }
  }

 private:
  const Engine& engine_;
  EvalOptions options_;
  TextWindows windows_;
};

}  // namespace

std::unique_ptr<EvalWork> prepare_ppl(const Engine& engine, const EvalOptions& options) {
  return std::make_unique<PplWork>(engine, options);
}

}  // namespace chunkllm
