#include "cli/sources.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer/tokenizer.h"
#include "text/utf8.h"

namespace chunkllm::cli {
namespace {

constexpr size_t kMostSources = 8;
constexpr size_t kShownBytes = 100;  // of a text in the table

std::string shortened(const std::string& line) {
  if (line.size() <= kShownBytes) return line;
  size_t n = kShownBytes - 3;
  while (n > 0 && (static_cast<unsigned char>(line[n]) & 0xc0) == 0x80) --n;
  return line.substr(0, n) + "...";
}

std::string text_of(const Session& session, Range positions, bool skips_special) {
  StreamDecoder decoder(session.engine().tokenizer(), skips_special);
  std::string text;
  for (int64_t t = positions.begin; t < positions.end; ++t) {
    text += decoder.push(session.tokens()[static_cast<size_t>(t)]);
  }
  return text + decoder.finish();
}

// Whether somebody wrote any of the text at `positions`.
bool holds_written_text(const Session& session, const Prompt& prompt, Range positions) {
  return std::ranges::any_of(prompt.written, [&](const Range& written) {
    const Range both{std::max(written.begin, positions.begin),
                     std::min(written.end, positions.end)};
    return !both.empty() && !with_single_blanks(text_of(session, both, true)).empty();
  });
}

}  // namespace

nlohmann::ordered_json sources_at(const Session& session, const Prompt& prompt) {
  std::vector<ChosenChunk> chunks = session.policy().chosen_at(prompt.n_tokens() - 1);
  const int64_t sink =
      settings_with_defaults(session.options().selection,
                             adapter_for(*session.options().policy, session.engine().adapters()))
          .sink.value_or(0);
  std::erase_if(chunks, [&](const ChosenChunk& chunk) {
    return !holds_written_text(session, prompt,
                               {std::max(chunk.positions.begin, sink), chunk.positions.end});
  });
  std::ranges::stable_sort(chunks, [](const ChosenChunk& a, const ChosenChunk& b) {
    const bool a_by_most = a.layers >= 0.5;
    const bool b_by_most = b.layers >= 0.5;
    if (a_by_most != b_by_most) return a_by_most;
    return a.mass * b.usual_mass > b.mass * a.usual_mass;
  });
  if (chunks.size() > kMostSources) chunks.resize(kMostSources);
  auto sources = nlohmann::ordered_json::array();
  for (const ChosenChunk& chunk : chunks) {
    sources.push_back({{"begin", chunk.positions.begin},
                       {"end", chunk.positions.end},
                       {"text", with_single_blanks(text_of(session, chunk.positions, false))},
                       {"layers", chunk.layers},
                       {"mass", chunk.mass},
                       {"usual_mass", chunk.usual_mass}});
  }
  return sources;
}

void print_sources(const nlohmann::ordered_json& sources) {
  if (sources.empty()) {
    std::fputs("no chunk was chosen that holds text of the prompt\n", stderr);
    return;
  }
  std::fputs(
      "chunks that the upper layers chose at the prompt's end:\n"
      "         tokens  layers   mass  usual  text\n",
      stderr);
  for (const auto& source : sources) {
    const std::string range =
        fmt::format("{}-{}", source["begin"].get<int64_t>(), source["end"].get<int64_t>());
    std::fputs(fmt::format("{:>15}  {:5.0f}%  {:4.1f}%  {:4.1f}%  {}\n", range,
                           100 * source["layers"].get<double>(), 100 * source["mass"].get<double>(),
                           100 * source["usual_mass"].get<double>(),
                           shortened(source["text"].get<std::string>()))
                   .c_str(),
               stderr);
  }
}

}  // namespace chunkllm::cli
