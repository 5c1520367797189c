// See line_reader.h.
#include "line_reader.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "command.h"

namespace cli {

std::optional<std::string> LineReader::next() {
  for (;;) {
    const size_t end = ahead_.find('\n');
    if (end != std::string::npos || (ended_ && !ahead_.empty())) {
      std::string line = ahead_.substr(0, end);
      ahead_.erase(0, end == std::string::npos ? end : end + 1);
      if (line.ends_with('\r')) line.pop_back();
      return line;
    }
    if (ended_) return std::nullopt;
    wait_for_bytes(STDIN_FILENO);
    char piece[4096];
    const ssize_t size = read(STDIN_FILENO, piece, sizeof piece);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) throw Failure(std::string("standard input: ") + std::strerror(errno));
    ended_ = size == 0;
    ahead_.append(piece, static_cast<size_t>(size));
  }
}

}  // namespace cli
