// A native object and who is inside it: freed once, by close or after the garbage collector found its owner, never under a
// call.
package io.github.libgptq;

import java.lang.ref.PhantomReference;
import java.lang.ref.Reference;
import java.lang.ref.ReferenceQueue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongConsumer;
import java.util.function.LongFunction;

final class Handle extends PhantomReference<Object> {
  enum Kind {
    OPTIONS("options are", GptqApi::gptq_options_free, address -> {}),
    MODEL("model is", GptqApi::gptq_model_free, address -> {}),
    SESSION("session is", GptqApi::gptq_session_free, GptqApi::gptq_session_cancel),
    QUANTIZER("quantizer is", GptqApi::gptq_quantizer_free, GptqApi::gptq_quantizer_cancel);

    private final String subject;
    private final LongConsumer free;
    private final LongConsumer cancel;

    Kind(String subject, LongConsumer free, LongConsumer cancel) {
      this.subject = subject;
      this.free = free;
      this.cancel = cancel;
    }
  }

  private static final ReferenceQueue<Object> ABANDONED = new ReferenceQueue<>();
  /** Keeps the handles reachable until they are closed: their owners may be forgotten before. */
  private static final Set<Handle> OPEN = ConcurrentHashMap.newKeySet();

  private final Kind kind;
  private final long address;
  private final ReentrantLock turn = new ReentrantLock();
  /** Calls that are inside. */
  private int users;
  private boolean closed;
  /** The owner while a call is inside, so that the garbage collector does not find it forgotten meanwhile. */
  @SuppressWarnings("unused")
  private Object inUse;

  /** Takes over a native object; also frees those whose owners were forgotten. */
  Handle(Object owner, Kind kind, long address) {
    super(owner, ABANDONED);
    this.kind = kind;
    this.address = address;
    OPEN.add(this);
    for (Reference<?> found; (found = ABANDONED.poll()) != null; ) {
      ((Handle) found).close();
    }
  }

  /** Calls `body` with the address, which is good until it returns. */
  <T> T use(Object owner, LongFunction<T> body) {
    enter(owner);
    try {
      return body.apply(address);
    } finally {
      leave();
    }
  }

  /** As `use`, and no other thread may do this meanwhile. */
  <T> T useAlone(Object owner, LongFunction<T> body) {
    long address = enterAlone(owner);
    try {
      return body.apply(address);
    } finally {
      leaveAlone();
    }
  }

  /** Waits for nobody. The address is good until this thread calls `leaveAlone`, as it must unless this throws. */
  long enterAlone(Object owner) {
    if (!turn.tryLock()) {
      throw new GptqException(ErrorCode.BUSY, "the " + kind.subject + " in use by another thread");
    }
    boolean inside = false;
    try {
      enter(owner);
      inside = true;
      return address;
    } finally {
      if (!inside) {
        turn.unlock();
      }
    }
  }

  void leaveAlone() {
    try {
      leave();
    } finally {
      turn.unlock();
    }
  }

  private synchronized void enter(Object owner) {
    if (closed) {
      throw new GptqException(ErrorCode.BAD_STATE, "the " + kind.subject + " closed");
    }
    users++;
    inUse = owner;
  }

  private void leave() {
    boolean last;
    synchronized (this) {
      last = --users == 0;
      if (last) {
        inUse = null;
      }
      last &= closed;
    }
    if (last) {
      kind.free.accept(address);
    }
  }

  /** Ends what runs inside; the last one out frees. */
  void close() {
    synchronized (this) {
      if (closed) {
        return;
      }
      closed = true;
      OPEN.remove(this);
      clear();
      if (users > 0) {
        kind.cancel.accept(address);
        return;
      }
    }
    kind.free.accept(address);
  }

  /** Native objects that are not closed, of all kinds. */
  static int open() {
    return OPEN.size();
  }
}
