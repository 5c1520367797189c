// The chunks of one generation: an Iterable for the for loop, a Stream, or pulled together with those of others.
package io.github.libgptq;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * The chunks of one generation, each computed when it is pulled. It can be walked once. To pull no further is all it
 * takes to stop; it holds nothing of its own to close. Appending to the session, or another generation, ends it.
 *
 * <p>Pulling throws {@link ErrorCode#CANCELLED} after {@link Session#cancel} or an interrupt of the thread.
 *
 * <p>{@link #nextAll} pulls several generations together.
 */
public final class Generation implements Iterable<Chunk> {
  private final Session session;
  private final int number;
  private boolean taken;
  private volatile boolean over;
  /** Was pulled by an iterator, but not handed out yet. */
  private Chunk ahead;
  /** Of the last nextAll. */
  private Chunk chunk;
  private GptqException failure;

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

  /**
   * The next chunk of several generations of one model, each of a session of its own, for {@link #chunk()} of each. Their
   * tokens go through the model together: its weights are read once for all of them, so that eight generations get several
   * times the tokens of one in the same time.
   *
   * <p>Each gets the chunk that it would get alone, but for the rounding of sums in another order. One that ends or fails
   * does so alone, be it by {@link Session#cancel}, {@link Session#close} or because another thread is in its session;
   * {@link #failure()} tells. An interrupt of this thread ends all. Any generations at each call, at any place in their
   * text; those that have ended cost nothing.
   *
   * @param generations of one thread, as a single one is
   * @return whether one of them at least has a chunk
   * @throws GptqException INVALID_ARGUMENT for two of one session that have not ended, or for generations of several models,
   *     which the message counts without those that have ended; OUT_OF_MEMORY. None has taken a step then
   */
  public static boolean nextAll(Collection<Generation> generations) {
    return JointStep.run(new ArrayList<>(generations));
  }

  /**
   * What the last {@link #nextAll} has pulled.
   *
   * @return empty where there was none: before the first, after the end, or for a failure
   */
  public Optional<Chunk> chunk() {
    return Optional.ofNullable(chunk);
  }

  /**
   * Why the generation has ended before its end.
   *
   * @return empty while it goes on, and where it has ended by itself
   */
  public Optional<GptqException> failure() {
    return Optional.ofNullable(failure);
  }

  Session session() {
    return session;
  }

  int number() {
    return number;
  }

  /** Whether there may be a chunk. */
  boolean open() {
    return ahead != null || !over;
  }

  /** Whether a step must be taken for it. */
  boolean wantsStep() {
    return ahead == null && !over;
  }

  /** What a step has come to; null is the end. */
  void pulled(Chunk next) {
    ahead = next;
    if (next == null) {
      over = true;
    }
  }

  void fail(GptqException why) {
    failure = why;
    over = true;
  }

  /** Makes what was pulled the chunk; whether there is one. */
  boolean handOut() {
    chunk = ahead;
    ahead = null;
    return chunk != null;
  }

  private final class Steps implements Iterator<Chunk> {
    @Override
    public boolean hasNext() {
      if (wantsStep()) {
        over = true; // and stays so when the step throws
        try {
          ahead = session.step(number);
        } catch (GptqException thrown) {
          failure = thrown;
          throw thrown;
        }
        over = ahead == null;
      }
      return ahead != null;
    }

    @Override
    public Chunk next() {
      if (!hasNext()) {
        throw new NoSuchElementException("the generation has ended");
      }
      Chunk next = ahead;
      ahead = null;
      return next;
    }
  }
}
