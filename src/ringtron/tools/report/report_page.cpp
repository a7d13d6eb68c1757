#include "ringtron/tools/report/report_page.h"

#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/tools/report/page_assets.h"
#include "ringtron/tools/report/page_data.h"

namespace ringtron {
namespace {

// Inside of an element of the page.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '&':
        out += "&amp;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// JSON in which nothing ends the script element that holds it: < stands in strings alone.
std::string within_script(std::string_view json) {
  std::string out;
  for (const char c : json) {
    if (c == '<')
      out += "\\u003c";
    else
      out += c;
  }
  return out;
}

}  // namespace

std::string report_page(std::span<const RunLog> runs, std::optional<double> peak_tflops) {
  std::string title = "Report: ";
  for (const RunLog& run : runs) title += (&run == runs.data() ? "" : ", ") + run.name;
  const std::pair<std::string_view, std::string> places[] = {{"@TITLE@", escaped(title)},
                                                             {"@STYLE@", std::string(kPageStyle)},
                                                             {"@DATA@", within_script(page_data(runs, peak_tflops))},
                                                             {"@SCRIPT@", std::string(kPageScript)}};
  std::string page;
  std::string_view rest = kPageHtml;
  for (const auto& [mark, text] : places) {  // in their order, so that what is put in is not looked at again
    const std::size_t at = rest.find(mark);
    RT_CHECK(at != std::string_view::npos, "page.html has no {}", mark);
    page += rest.substr(0, at);
    page += text;
    rest.remove_prefix(at + mark.size());
  }
  page += rest;
  return page;
}

}  // namespace ringtron
