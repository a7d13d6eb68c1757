// The files of the page (page.html, page.css, page_*.js), which the build puts into the program.
#pragma once

#include <string_view>

namespace ringtron {

extern const std::string_view kPageHtml, kPageStyle, kPageScript;

}  // namespace ringtron
