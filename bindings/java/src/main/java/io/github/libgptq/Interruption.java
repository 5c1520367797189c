// Lets Thread.interrupt() end a native call: java.nio's base class of interruptible channels, without a channel. No thread
// watches; the one that interrupts runs the cancel.
package io.github.libgptq;

import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.spi.AbstractInterruptibleChannel;
import java.util.function.LongConsumer;
import java.util.function.LongFunction;
import java.util.function.Supplier;

final class Interruption extends AbstractInterruptibleChannel {
  private final Runnable cancel;
  private boolean fired;
  private boolean over;

  private Interruption(Runnable cancel) {
    this.cancel = cancel;
  }

  /** As below, of one native object. */
  static <T> T call(long address, LongFunction<T> body, LongConsumer cancel, LongConsumer undo) {
    return call(() -> body.apply(address), () -> cancel.accept(address), () -> undo.accept(address));
  }

  /**
   * Calls `body`; an interrupt, also one from before, calls `cancel` meanwhile. A native cancel that comes too late is
   * kept for the next call: `undo` takes it back, and the thread, which stays interrupted, sends it anew with its next
   * call.
   */
  static <T> T call(Supplier<T> body, Runnable cancel, Runnable undo) {
    Interruption interruption = new Interruption(cancel);
    interruption.begin();
    try {
      return body.get();
    } finally {
      if (interruption.finish()) {
        undo.run();
      }
    }
  }

  @Override
  protected void implCloseChannel() {
    synchronized (this) {
      if (!over) {
        fired = true;
        cancel.run();
      }
    }
  }

  /** True if the cancel was sent; none is sent afterwards. */
  private boolean finish() {
    try {
      end(true);
    } catch (AsynchronousCloseException interrupted) {
      // the thread stays interrupted, for its caller to see
    }
    synchronized (this) {
      over = true;
      return fired;
    }
  }
}
