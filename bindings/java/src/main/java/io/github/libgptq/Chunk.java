// A piece of generated text.
package io.github.libgptq;

/** What one step of a generation gave. */
public final class Chunk {
  private final String text;
  private final int token;

  Chunk(String text, int token) {
    this.text = text;
    this.token = token;
  }

  /**
   * The text that this step completed. Characters are never split: it is empty while one is incomplete.
   *
   * @return the text; all chunks of a generation joined are the whole
   */
  public String text() {
    return text;
  }

  /**
   * The id of the step's token.
   *
   * @return the id; -1 for a chunk that only completes text that was held back
   */
  public int token() {
    return token;
  }

  /** The text. */
  @Override
  public String toString() {
    return text;
  }
}
