#include "select/policy.h"

#include "base/error.h"
#include "select/chunk/chunk_policy.h"

namespace chunkllm {
namespace {

// Vanilla attention.
class FullPolicy : public SelectionPolicy {
 public:
  void begin_block(Range positions, std::span<const int32_t> tokens) override {
    n_tokens_ = positions.end;
    full_.begin_block(positions, tokens);
  }
  std::span<const AttentionSpan> rows(const LayerInput& input) override {
    return full_.rows(input);
  }
  int64_t truncate(int64_t n_tokens) override { return n_tokens_ = n_tokens; }
  PolicyState state() const override { return {}; }
  void restore(std::span<const int32_t> tokens, const PolicyState&) override {
    n_tokens_ = static_cast<int64_t>(tokens.size());
  }
  int64_t rows_attended(int64_t) const override { return n_tokens_; }

 private:
  FullRows full_;
  int64_t n_tokens_ = 0;
};

constexpr const char kNotSaved[] =
    "a sequence under this policy cannot be saved or loaded; use the policy chunk or full";

}  // namespace

PolicyState SelectionPolicy::state() const { fail(ErrorCode::kUnsupported, kNotSaved); }

void SelectionPolicy::restore(std::span<const int32_t>, const PolicyState&) {
  fail(ErrorCode::kUnsupported, kNotSaved);
}

std::unique_ptr<SelectionPolicy> make_policy(PolicyKind kind, const SelectionSettings& settings,
                                             const Adapter* adapter,
                                             std::span<const int32_t> special_ids) {
  switch (kind) {
    case PolicyKind::kFull:
      return std::make_unique<FullPolicy>();
    case PolicyKind::kChunk:
      if (adapter == nullptr) {
        fail(ErrorCode::kInvalidArgument,
             "the policy 'chunk' needs trained adapters; give --adapter DIR");
      }
      return std::make_unique<ChunkPolicy>(*adapter, settings, special_ids);
  }
  fail(ErrorCode::kInvalidArgument, "there is no selection policy of number {}",
       static_cast<int>(kind));
}

}  // namespace chunkllm
