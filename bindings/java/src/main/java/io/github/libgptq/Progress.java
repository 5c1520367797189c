// How far a quantization is.
package io.github.libgptq;

/** How far a quantization is, at one moment. */
public final class Progress {
  private final double fraction;
  private final int layer;
  private final int layers;
  private final double seconds;
  private final double secondsLeft;

  Progress(double fraction, int layer, int layers, double seconds, double secondsLeft) {
    this.fraction = fraction;
    this.layer = layer;
    this.layers = layers;
    this.seconds = seconds;
    this.secondsLeft = secondsLeft;
  }

  /**
   * The part that is done.
   *
   * @return from 0 to 1
   */
  public double fraction() {
    return fraction;
  }

  /**
   * The layer that is being quantized.
   *
   * @return from 1 to {@link #layers()}; 0 before the first
   */
  public int layer() {
    return layer;
  }

  /**
   * The layers of the model.
   *
   * @return their number
   */
  public int layers() {
    return layers;
  }

  /**
   * The time since the first step.
   *
   * @return seconds
   */
  public double seconds() {
    return seconds;
  }

  /**
   * An estimate of the time to go.
   *
   * @return seconds; -1 while there is no estimate
   */
  public double secondsLeft() {
    return secondsLeft;
  }

  /** Such as "42 %, layer 3 of 8". */
  @Override
  public String toString() {
    return (int) (100 * fraction) + " %, layer " + layer + " of " + layers;
  }
}
