#include "select/settings.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace chunkllm {

KvBudget KvBudget::parse(std::string_view text) {
  KvBudget budget;
  const char* end = text.data() + text.size();
  if (text.find('.') != std::string_view::npos) {
    double fraction = 0;
    const auto [stop, error] = std::from_chars(text.data(), end, fraction);
    if (error == std::errc() && stop == end && fraction > 0.0 && fraction <= 1.0) {
      budget.fraction = fraction;
      return budget;
    }
  } else {
    int64_t n_tokens = 0;
    const auto [stop, error] = std::from_chars(text.data(), end, n_tokens);
    if (error == std::errc() && stop == end && n_tokens > 0) {
      budget.n_tokens = n_tokens;
      return budget;
    }
  }
  fail(ErrorCode::kInvalidArgument,
       "--kv-budget {}: must be a number of tokens above 0 or, with a point, a fraction up to 1.0",
       text);
}

int64_t KvBudget::least_tokens(int64_t sink, int64_t window, int64_t max_chunk) const {
  return min_tokens.value_or(std::max<int64_t>(256, sink + window + 2 * max_chunk));
}

}  // namespace chunkllm
