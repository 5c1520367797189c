// The two tables of filters.
#pragma once

#include <string_view>

#include "text/template_value.h"

namespace gptq::jinja {

/// Filters of lists and dicts, for find_filter().
Native find_list_filter(std::string_view name);

}  // namespace gptq::jinja
