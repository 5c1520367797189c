// A step of several generations at once: who can't take part fails alone, all others go through the model together.
package io.github.libgptq;

import static io.github.libgptq.GptqException.check;

import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongConsumer;

final class JointStep {
  private final Generation[] inside;
  /** Their sessions. */
  private final long[] addresses;
  private int count;

  private JointStep(int most) {
    inside = new Generation[most];
    addresses = new long[most];
  }

  /** Whether one of them has a chunk. */
  static boolean run(List<Generation> generations) {
    requireApart(generations);
    JointStep step = new JointStep(generations.size());
    try {
      for (Generation generation : generations) {
        if (generation.wantsStep()) {
          step.enter(generation);
        }
      }
      if (step.count > 0) {
        step.take();
      }
    } finally {
      step.leave();
    }
    boolean more = false;
    for (Generation generation : generations) {
      more |= generation.handOut();
    }
    return more;
  }

  private static void requireApart(List<Generation> generations) {
    Map<Session, Integer> seen = new IdentityHashMap<>();
    for (int i = 0; i < generations.size(); i++) {
      Generation generation = generations.get(i);
      Integer first = generation.open() ? seen.putIfAbsent(generation.session(), i) : null;
      if (first != null) {
        throw new GptqException(ErrorCode.INVALID_ARGUMENT, "generations " + first + " and " + i
            + " are of one session, wanted a session of its own for each");
      }
    }
  }

  /** Waits for nobody, so that any order will do. */
  private void enter(Generation generation) {
    try {
      addresses[count] = generation.session().enter(generation.number());
      inside[count++] = generation;
    } catch (GptqException closedOrBusy) {
      generation.fail(closedOrBusy);
    }
  }

  private void leave() {
    for (int i = 0; i < count; i++) {
      inside[i].session().leave();
    }
  }

  private void take() {
    int[] statuses = new int[count];
    Interruption.call(
        () -> check(GptqApi.gptq_session_step_all(addresses, count, statuses)),
        () -> each(GptqApi::gptq_session_cancel),
        () -> each(GptqApi::gptq_session_clear_cancel));
    for (int i = 0; i < count; i++) {
      if (statuses[i] < 0) {
        inside[i].fail(new GptqException(statuses[i], GptqApi.gptq_session_error_message(addresses[i])));
      } else {
        inside[i].pulled(Session.chunkAfter(statuses[i], addresses[i]));
      }
    }
  }

  private void each(LongConsumer call) {
    for (int i = 0; i < count; i++) {
      call.accept(addresses[i]);
    }
  }
}
