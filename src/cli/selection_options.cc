#include "cli/selection_options.h"

#include <algorithm>
#include <string>

namespace chunkllm::cli {

void add_selection_options(CLI::App& app, SelectionArgs& args, std::span<const Setting> except) {
  for (const SettingEntry& entry : setting_entries()) {
    if (std::ranges::find(except, entry.setting) != except.end()) continue;
    app.add_option_function<std::string>(
           std::string(entry.flag),
           [&args, &entry](const std::string& text) {
             entry.set(args.settings, text);
             args.given.push_back(entry.setting);
           },
           std::string(entry.help))
        ->type_name(std::string(entry.value));
  }
}

}  // namespace chunkllm::cli
