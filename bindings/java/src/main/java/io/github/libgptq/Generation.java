// The chunks of one generation: an Iterable for the for loop, or a Stream.
package io.github.libgptq;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * The chunks of one generation, each computed when it is pulled. It can be walked once. To pull no further is all it
 * takes to stop; it holds nothing of its own to close. Appending to the session, or another generation, ends it.
 *
 * <p>Pulling throws {@link ErrorCode#CANCELLED} after {@link Session#cancel} or an interrupt of the thread.
 */
public final class Generation implements Iterable<Chunk> {
  private final Session session;
  private final int number;
  private boolean taken;
  private volatile boolean over;

  Generation(Session session, int number) {
    this.session = session;
    this.number = number;
  }

  /**
   * The chunks, for one walk.
   *
   * @throws GptqException BAD_STATE when they were asked for before
   */
  @Override
  public Iterator<Chunk> iterator() {
    if (taken) {
      throw new GptqException(ErrorCode.BAD_STATE, "a generation can be walked once");
    }
    taken = true;
    return new Steps();
  }

  /**
   * The chunks as a lazy, sequential stream, for one walk. Closing it stops the generation.
   *
   * @return the stream
   * @throws GptqException BAD_STATE when they were asked for before
   */
  public Stream<Chunk> stream() {
    Spliterator<Chunk> steps =
        Spliterators.spliteratorUnknownSize(iterator(), Spliterator.ORDERED | Spliterator.NONNULL);
    return StreamSupport.stream(steps, false).onClose(() -> over = true);
  }

  private final class Steps implements Iterator<Chunk> {
    /** Was pulled, but not handed out yet. */
    private Chunk ahead;

    @Override
    public boolean hasNext() {
      if (ahead == null && !over) {
        over = true; // and stays so when the step throws
        ahead = session.step(number);
        over = ahead == null;
      }
      return ahead != null;
    }

    @Override
    public Chunk next() {
      if (!hasNext()) {
        throw new NoSuchElementException("the generation has ended");
      }
      Chunk chunk = ahead;
      ahead = null;
      return chunk;
    }
  }
}
