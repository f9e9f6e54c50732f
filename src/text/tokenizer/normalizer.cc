#include "text/tokenizer/normalizer.h"

#include <unicode/bytestream.h>
#include <unicode/edits.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "text/utf8.h"

namespace chunkllm {

namespace {

void check_icu(UErrorCode status) {
  if (U_FAILURE(status)) {
    fail(ErrorCode::kUnsupported, "Unicode normalization failed ({}); check the ICU installation",
         u_errorName(status));
  }
}

void check_marks(std::string_view text) {
  int n_marks = 0;
  for (size_t offset = 0; offset < text.size();) {
    const CodePoint c = code_point_at(text, offset);
    const bool is_mark = c.value >= 0x300 && u_getCombiningClass(static_cast<UChar32>(c.value)) > 0;
    n_marks = is_mark ? n_marks + 1 : 0;
    if (n_marks > NfcStep::kMaxMarks) {
      fail(ErrorCode::kUnsupported,
           "the text has more than {} combining marks in a row; remove those that do not belong "
           "there",
           NfcStep::kMaxMarks);
    }
    offset += c.n_bytes;
  }
}

void apply(const NfcStep&, TextLayer& layer, StringPool& pool, bool with_offsets) {
  const std::string_view text = layer.text();
  if (is_ascii(text)) return;
  if (text.size() > size_t{INT32_MAX}) {
    fail(ErrorCode::kUnsupported, "a text of {} bytes; Unicode normalization takes {}, so split it",
         text.size(), INT32_MAX);
  }
  check_marks(text);
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
  check_icu(status);
  const icu::StringPiece input(text.data(), static_cast<int32_t>(text.size()));
  const bool is_normal = nfc->isNormalizedUTF8(input, status);
  check_icu(status);
  if (is_normal) return;
  std::string& result = pool.emplace_back();
  icu::StringByteSink<std::string> sink(&result, input.length());
  icu::Edits edits;
  nfc->normalizeUTF8(0, input, sink, with_offsets ? &edits : nullptr, status);
  check_icu(status);
  OffsetMap map;
  for (auto edit = edits.getCoarseChangesIterator(); edit.next(status);) {
    const auto target = static_cast<size_t>(edit.destinationIndex());
    const auto source = static_cast<size_t>(edit.sourceIndex());
    map.add({target, target + static_cast<size_t>(edit.newLength()), source,
             source + static_cast<size_t>(edit.oldLength())});
  }
  check_icu(status);
  layer.rewrite(result, std::move(map));
}

void apply(const PrependStep& step, TextLayer& layer, StringPool& pool, bool) {
  if (layer.text().empty()) return;
  std::string& result = pool.emplace_back(step.text);
  result += layer.text();
  OffsetMap map;  // one entry; cheap enough to keep always
  map.add({0, step.text.size(), 0, 0});
  layer.rewrite(result, std::move(map));
}

void apply(const ReplaceStep& step, TextLayer& layer, StringPool& pool, bool with_offsets) {
  const std::string_view text = layer.text();
  size_t found = text.find(step.from);
  if (found == std::string_view::npos) return;
  std::string& result = pool.emplace_back();
  result.reserve(text.size() + text.size() / 2);
  OffsetMap map;
  size_t begin = 0;
  for (; found != std::string_view::npos; found = text.find(step.from, begin)) {
    result += text.substr(begin, found - begin);
    begin = found + step.from.size();
    if (with_offsets) map.add({result.size(), result.size() + step.to.size(), found, begin});
    result += step.to;
  }
  result += text.substr(begin);
  layer.rewrite(result, std::move(map));
}

}  // namespace

void apply_step(const NormalizerStep& step, TextLayer& layer, StringPool& pool, bool with_offsets) {
  std::visit([&](const auto& kind) { apply(kind, layer, pool, with_offsets); }, step);
}

std::string normalize(const std::vector<NormalizerStep>& steps, std::string_view text) {
  StringPool pool;
  TextLayer layer(text);
  for (const NormalizerStep& step : steps) apply_step(step, layer, pool, false);
  return std::string(layer.text());
}

}  // namespace chunkllm
