/**
 * Quantizes language models with GPTQ and runs them, in this process, without Python.
 *
 * <p>{@link io.github.libgptq.Model} is loaded from a Hugging Face folder and gives
 * {@link io.github.libgptq.Session}s, whose generations are iterators of {@link io.github.libgptq.Chunk}s;
 * {@link io.github.libgptq.Quantizer} makes a 4-bit folder out of a 16-bit one. Several generations are pulled together
 * by {@link io.github.libgptq.Generation#nextAll}.
 *
 * <p>What holds for all of it:
 * <ul>
 *   <li>What fails throws {@link io.github.libgptq.GptqException}, with a code and a text. If the native library can't
 *       be found, the first use throws {@link UnsatisfiedLinkError}, whose message names every place that was tried.
 *   <li>{@code close()} frees native memory at once, or when the last call that is running has returned; it may be
 *       repeated, and objects may be closed in any order. An object that was forgotten is freed some time after the
 *       garbage collector found it, when another is made. Use of a closed object throws
 *       {@link io.github.libgptq.ErrorCode#BAD_STATE}.
 *   <li>{@link Thread#interrupt()} ends a prompt, a step or a quantization that its thread is inside, at once; that
 *       throws {@link io.github.libgptq.ErrorCode#CANCELLED}, and the thread stays interrupted.
 * </ul>
 */
package io.github.libgptq;
