// The web page of the server: a chat, in one file without outside resources.
#pragma once

#include <string_view>

namespace chunkllm::serve {

// serve/page.html, as it was when the program was built.
std::string_view page_html();

}  // namespace chunkllm::serve
