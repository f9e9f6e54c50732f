// Settings of a file as a user says them, and what differs between those it was saved with and
// those of now.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace chunkllm {

// A value in one line of plain ASCII, cut where it is long; a switch is on or off, as options have
// it.
std::string setting_text(const nlohmann::json& value);

// "--kv-budget 2048 (the default), now 1024; another adapter digest": both are JSON objects, whose
// names are those of options, or say in words what the value is. A null is as good as no value;
// "default" is a value that nobody gave, as is that of the same name in `defaults`. Where digests
// differ their digits are not shown. Settings that only one side has, and nobody gave, are left out
// where others differ: they follow from those. Empty where nothing differs. `saved` may hold
// anything; the text is one line of plain ASCII.
std::string settings_difference(const nlohmann::json& saved, const nlohmann::ordered_json& now,
                                const nlohmann::json& defaults);

}  // namespace chunkllm
