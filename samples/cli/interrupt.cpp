// SIGINT and SIGTERM, taken by one thread: no code runs inside a signal handler.
#include "interrupt.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <mutex>

#include "handles.h"

namespace cli {
namespace {

std::atomic<bool> came{false};
std::atomic<bool> finished{false};
std::mutex targets;
const gptq_session* session_target = nullptr;
const gptq_quantizer* quantizer_target = nullptr;

void cancel_targets() {
  const std::lock_guard lock(targets);
  if (session_target != nullptr) gptq_session_cancel(session_target);
  if (quantizer_target != nullptr) gptq_quantizer_cancel(quantizer_target);
}

}  // namespace

bool interrupted() { return came.load(std::memory_order_relaxed); }

void throw_if_interrupted() {
  if (interrupted()) throw Interrupted();
}

void forget_interrupt() { came = false; }

SignalWatcher::SignalWatcher() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  thread_ = std::thread([this] { wait_for_signals(); });
}

SignalWatcher::~SignalWatcher() {
  finished = true;
  pthread_kill(thread_.native_handle(), SIGINT);
  thread_.join();
}

void SignalWatcher::wait_for_signals() {
  for (;;) {
    int signal = 0;
    if (sigwait(&signals_, &signal) != 0) continue;
    if (finished) return;
    if (came.exchange(true)) _exit(130);
    cancel_targets();
  }
}

CancelOnSignal::CancelOnSignal(const gptq_session* session) {
  const std::lock_guard lock(targets);
  session_target = session;
}

CancelOnSignal::CancelOnSignal(const gptq_quantizer* quantizer) {
  const std::lock_guard lock(targets);
  quantizer_target = quantizer;
}

CancelOnSignal::~CancelOnSignal() {
  const std::lock_guard lock(targets);
  session_target = nullptr;
  quantizer_target = nullptr;
}

}  // namespace cli
