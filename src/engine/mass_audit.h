// What selections miss of full attention, measured now and then while a sequence runs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "engine/forwarding_rows.h"
#include "select/policy.h"
#include "select/teacher/token_mass.h"

namespace chunkllm {

// Shares of a token's full attention, the mean over heads, that lie in rows it did not attend to.
struct MissedMass {
  int64_t n = 0;
  double sum = 0;
  double max = 0;

  void add(double share) {
    ++n;
    sum += share;
    max = std::max(max, share);
  }
  MissedMass& operator+=(const MissedMass& other) {
    n += other.n;
    sum += other.sum;
    max = std::max(max, other.max);
    return *this;
  }
  double mean() const { return n > 0 ? sum / static_cast<double>(n) : 0; }
};

struct MissedMassReport {
  MissedMass all;
  std::map<int64_t, MissedMass> by_layer;  // those that were looked at
};

// {"mean", "max", "n", "by_layer": {"LAYER": the same, ...}}; without samples mean and max are
// null.
nlohmann::ordered_json missed_mass_json(const MissedMassReport& report);

// Takes its samples from a sequence under a policy: of the refreshes of a layer, numbered k, those
// with k = N (i + m n_layers) for whole m, i being the layer's place among the n_layers that
// select. So each N-th refresh is looked at in one layer, the layers taking turns, however a
// sequence is cut into blocks. What attends to everything is no sample. Changes nothing of what is
// computed.
class MassAudit {
 public:
  // Every `every`-th refresh, at least 1. The policy must outlive it.
  MassAudit(const SelectionPolicy& policy, const ModelConfig& config, int64_t every);

  // The tokens from position `first` on of a layer that attends by `spans`.
  void look(const LayerInput& input, std::span<const AttentionSpan> spans, int64_t first);
  const MissedMassReport& report() const { return report_; }

 private:
  const SelectionPolicy& policy_;
  int64_t every_;
  std::vector<int64_t> places_;  // [n_layers] among those that select, or -1
  int64_t n_selecting_ = 0;
  TokenMass mass_;
  MissedMassReport report_;
  std::vector<Range> missed_;  // scratch
};

// Shows an audit what `to` answers a block.
class AuditedRows : public ForwardingRows {
 public:
  // Of tokens from `first` on; those before it ran already.
  AuditedRows(RowSelector& to, MassAudit& audit, int64_t first)
      : ForwardingRows(to), audit_(audit), first_(first) {}

  std::span<const AttentionSpan> rows(const LayerInput& input) override {
    const std::span<const AttentionSpan> spans = ForwardingRows::rows(input);
    audit_.look(input, spans, first_);
    return spans;
  }

 private:
  MassAudit& audit_;
  int64_t first_;
};

}  // namespace chunkllm
