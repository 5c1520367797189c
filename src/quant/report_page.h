// The page that report_page() fills: src/quant/report.html, which CMake turns into a string.
#pragma once

#include <string_view>

namespace gptq {

extern const std::string_view kReportPage;

}  // namespace gptq
