// Messages and progress on standard error.
#include "terminal.h"

#include <gptq.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "interrupt.h"

namespace cli {
namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr double kSlowSeconds = 1.0;
constexpr double kLineSeconds = 2.0;

std::mutex output;
bool bar_is_drawn = false;
std::atomic<Progress*> shown{nullptr};
std::atomic<Verbosity> current{Verbosity::normal};

bool on_terminal() {
  static const bool answer = [] {
    const char* term = std::getenv("TERM");
    return isatty(STDERR_FILENO) != 0 && (term == nullptr || std::strcmp(term, "dumb") != 0);
  }();
  return answer;
}

bool coloured() {
  const char* no_color = std::getenv("NO_COLOR");
  return on_terminal() && (no_color == nullptr || *no_color == '\0');
}

size_t columns() {
  constexpr size_t kUsual = 80;
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsual;
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void erase_bar() {
  if (bar_is_drawn) std::fputs("\r\x1b[K", stderr);
  bar_is_drawn = false;
}

template <typename... Arguments>
std::string print(const char* format, Arguments... arguments) {
  char text[128];
  std::snprintf(text, sizeof text, format, arguments...);
  return text;
}

std::string clock_text(double duration) {
  const auto whole = static_cast<long>(duration);
  if (whole >= 3600) return print("%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
  return print("%ld:%02ld", whole / 60, whole % 60);
}

constexpr size_t kWideBar = 24, kNarrowBar = 8;

std::string bar(int64_t done, int64_t total, size_t cells) {
  const auto width = static_cast<int64_t>(cells);
  const int64_t filled = std::clamp<int64_t>(total > 0 ? done * width / total : 0, 0, width);
  const std::string fill(static_cast<size_t>(filled), '#');
  const std::string rest(static_cast<size_t>(width - filled), '.');
  return coloured() ? "[\x1b[32m" + fill + "\x1b[0m" + rest + "]" : "[" + fill + rest + "]";
}

}  // namespace

void set_verbosity(Verbosity verbosity) {
  current = verbosity;
  gptq_set_log_level(static_cast<int32_t>(verbosity));
}

Verbosity verbosity() { return current; }

void say(std::string_view kind, std::string_view message) {
  const std::lock_guard lock(output);
  erase_bar();
  const std::string line =
      "gptq: " + std::string(kind) + (kind.empty() ? "" : ": ") + std::string(message) + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

Progress::Progress(Show show, std::string unit)
    : show_(show), unit_(std::move(unit)), started_(seconds()), counted_from_(started_) {
  shown = this;
}

Progress::~Progress() {
  shown = nullptr;
  const std::lock_guard lock(output);
  erase_bar();
  std::fflush(stderr);
}

int32_t Progress::callback(void*, int64_t done, int64_t total, const char* stage) {
  if (Progress* progress = shown) progress->update(done, total, stage);
  return interrupted() ? 1 : 0;
}

void Progress::update(int64_t done, int64_t total, std::string_view stage) {
  if (verbosity() == Verbosity::quiet || stage.empty()) return;
  const double now = seconds();
  const size_t colon = std::min(stage.find(": "), stage.size());
  detail_ = stage.substr(std::min(colon + 2, stage.size()));
  stage = stage.substr(0, colon);
  if (stage != stage_) {
    stage_ = stage;
    last_tenth_ = -1;
  }
  if (total != total_ || done < done_) {
    counted_from_ = now;
    counted_done_ = done;
  }
  done_ = done;
  total_ = total;
  if (show_ == Show::when_slow && now - started_ < kSlowSeconds) return;
  const std::lock_guard lock(output);
  if (on_terminal()) {
    if (now - last_output_ >= kRedrawSeconds) draw(done, total, now);
  } else {
    print_line(done, total, now);
  }
}

void Progress::draw(int64_t done, int64_t total, double now) {
  // a line that wraps could not be erased: a narrow terminal gets no bar, then no more than fits
  const size_t room = columns() - 1, cells = detail_.empty() ? kWideBar : kNarrowBar;
  const std::string stage = print("%-12s ", stage_.c_str());
  std::string rest = figures(done, total, now);
  if (!detail_.empty()) rest += "  " + detail_;
  const bool wide = stage.size() + cells + 3 + rest.size() <= room;
  const std::string text =
      wide ? stage + bar(done, total, cells) + " " + rest : (stage + rest).substr(0, room);
  const std::string line = "\r\x1b[K" + text;
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
  bar_is_drawn = true;
  last_output_ = now;
}

/// One line where a stage starts, then at most one for each tenth.
void Progress::print_line(int64_t done, int64_t total, double now) {
  const int64_t tenth = total > 0 ? done * 10 / total : 0;
  const bool starts = last_tenth_ < 0;
  if (!starts && (tenth == last_tenth_ || now - last_output_ < kLineSeconds)) return;
  last_tenth_ = tenth;
  last_output_ = now;
  const std::string detail = detail_.empty() ? "" : "  " + detail_;
  const std::string line = "gptq: " + stage_ + ": " + figures(done, total, now) + detail + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

/// " 42 %  1250 tokens/s  0:12, 0:17 left"
std::string Progress::figures(int64_t done, int64_t total, double now) const {
  const double elapsed = now - started_;
  std::string line;
  if (total > 0) line += print("%3d %%  ", static_cast<int>(done * 100 / total));
  const double counted_seconds = now - counted_from_;
  const double rate = counted_seconds > 0 ? static_cast<double>(done - counted_done_) / counted_seconds : 0;
  if (!unit_.empty() && rate > 0) line += print("%.0f %s/s  ", rate, unit_.c_str());
  line += clock_text(elapsed);
  const double left = seconds_left(done, total, now);
  return left < 0 ? line : line + ", " + clock_text(left) + " left";
}

double Progress::seconds_left(int64_t done, int64_t total, double now) const {
  if (total <= done) return -1;
  if (seconds_left_) {
    if (const std::optional<double> left = seconds_left_()) return *left;
  }
  const double counted = now - counted_from_, since = static_cast<double>(done - counted_done_);
  return counted < 1 || since <= 0 ? -1 : static_cast<double>(total - done) * counted / since;
}

}  // namespace cli
