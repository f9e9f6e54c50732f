// Upper and lower case, as Python's str has them.
#pragma once

#include "text/chat/jinja/text.h"

namespace chunkllm::jinja {

enum class CaseKind { kUpper, kLower, kTitle, kCapitalize, kSwap, kFold };

// The text in this case; marks go with their characters.
TextPtr change_case(const Text& text, CaseKind kind, Budget& budget);

// Whether the text has letters and all of them are of this case: kUpper or kLower.
bool is_in_case(const Text& text, CaseKind kind, Budget& budget);

}  // namespace chunkllm::jinja
