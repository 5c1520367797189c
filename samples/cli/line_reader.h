// Lines of standard input, as they come.
#pragma once

#include <optional>
#include <string>

namespace cli {

class LineReader {
 public:
  /// The next line without its end; nothing at the end of the input. Waiting ends with Ctrl-C.
  std::optional<std::string> next();

 private:
  std::string ahead_;
  bool ended_ = false;
};

}  // namespace cli
