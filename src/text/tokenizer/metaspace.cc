#include "text/tokenizer/metaspace.h"

#include "text/tokenizer/normalizer.h"
#include "text/utf8.h"

namespace chunkllm {

void Metaspace::apply(TextLayer& layer, StringPool& pool, bool with_offsets) const {
  const bool is_first = layer.source(0) == 0;
  apply_step(ReplaceStep{" ", mark}, layer, pool, with_offsets);
  if (layer.text().starts_with(mark)) return;
  if (prepend == Prepend::kAlways || (prepend == Prepend::kFirst && is_first)) {
    apply_step(PrependStep{mark}, layer, pool, with_offsets);
  }
}

void WordCutter::add_token(std::string_view token) {
  for (size_t found = token.find(mark, 1); found != std::string_view::npos;
       found = token.find(mark, found + 1)) {
    before_mark.insert(code_point_before(token, found).value);
  }
}

size_t WordCutter::piece_end(std::string_view text, size_t begin) const {
  if (cuts == Cuts::kNever) return text.size();
  for (size_t found = text.find(mark, begin + 1); found != std::string_view::npos;
       found = text.find(mark, found + 1)) {
    if (cuts == Cuts::kEveryMark) return found;
    if (!before_mark.contains(code_point_before(text, found).value)) return found;
  }
  return text.size();
}

}  // namespace chunkllm
