// A quantization job.
using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace Gptq
{
    /// <summary>How far a quantization is.</summary>
    public struct Progress
    {
        /// <summary>The part that is done, 0 to 1.</summary>
        public double Fraction { get; internal set; }
        /// <summary>The layer being quantized, counted from 1; 0 before the first.</summary>
        public int Layer { get; internal set; }
        /// <summary>Number of layers.</summary>
        public int Layers { get; internal set; }
        /// <summary>Seconds since the first step.</summary>
        public double Seconds { get; internal set; }
        /// <summary>An estimate of the seconds to go; null while there is none.</summary>
        public double? SecondsLeft { get; internal set; }
    }

    /// <summary>A job that quantizes a folder's Linear layers with GPTQ (arXiv 2210.17323) and writes a folder that
    /// transformers, GPTQModel and vLLM load. The output folder appears by one rename when all of it is on disk; until then,
    /// and after a failure, a cancel or a crash, there is none, or the old one where "overwrite" is set. One thread at a time
    /// may use it, a second one gets <see cref="ErrorCode.Busy"/>; <see cref="GetProgress"/>, <see cref="Cancel"/> and <see cref="Dispose"/> may be called by any.</summary>
    public sealed class Quantizer : IDisposable
    {
        private readonly Handle handle;

        /// <summary>Checks both folders, before any work.</summary>
        /// <param name="modelPath">A 16-bit or 32-bit model folder.</param>
        /// <param name="outputPath">The folder to make; its parent must exist.</param>
        /// <param name="options">Scopes "model" and "quantizer"; null for the defaults.</param>
        /// <exception cref="GptqException">As <see cref="Model.Load"/>; Io when the output exists or can't be
        /// made.</exception>
        public Quantizer(string modelPath, string outputPath, Options options = null)
        {
            IntPtr quantizer;
            using (var settings = Options.Enter(options))
                GptqException.Check(GptqApi.gptq_quantizer_create(modelPath, outputPath, settings.Pointer, out quantizer));
            handle = new Handle("quantizer", quantizer, GptqApi.gptq_quantizer_free);
        }

        /// <summary>Calibration text: all texts together are tokenized and cut into consecutive sequences of
        /// calibration_length tokens, of which the first calibration_samples are taken, or that many at random where a seed
        /// is set. Without any calibration the model writes its own.</summary>
        /// <exception cref="GptqException">BadState after the first step.</exception>
        public void AddCalibrationText(string text)
        {
            byte[] bytes = Utf8.Bytes(text);
            using (var use = handle.EnterAlone())
                GptqException.Check(GptqApi.gptq_quantizer_add_calibration_text(use.Pointer, bytes, Utf8.Count(bytes)));
        }

        /// <summary>One calibration sequence, taken as it is, besides those cut from text.</summary>
        /// <exception cref="GptqException">InvalidArgument for an id outside the vocabulary, none, or more than the model's
        /// context; BadState after the first step.</exception>
        public void AddCalibrationTokens(int[] ids)
        {
            using (var use = handle.EnterAlone())
                GptqException.Check(GptqApi.gptq_quantizer_add_calibration_tokens(use.Pointer, ids, Utf8.Count(ids)));
        }

        /// <summary>Does the work, step by step as they are pulled: the calibration, each layer, the closing of the output.
        /// Gives the progress after each. The output is complete when it ends; leaving it early leaves the job as it is, to
        /// be gone on with or closed.</summary>
        /// <exception cref="GptqException">When pulling. Io, Corrupt, OutOfMemory, InvalidArgument (text of fewer than two
        /// tokens): the job is then over and leaves no output; further steps give BadState.</exception>
        /// <exception cref="OperationCanceledException">When pulling, after a cancel: the job is over and leaves no
        /// output.</exception>
        public IEnumerable<Progress> Steps(CancellationToken cancellationToken = default(CancellationToken))
        {
            bool done;
            do
            {
                done = Step(cancellationToken);
                yield return GetProgress();
            } while (!done);
        }

        /// <summary>Does all the work; errors as <see cref="Steps"/>.</summary>
        public void Run(CancellationToken cancellationToken = default(CancellationToken))
        {
            while (!Step(cancellationToken)) { }
        }

        /// <summary>Does all the work on a thread of the pool; errors as <see cref="Steps"/>.</summary>
        /// <param name="progress">Told after each step; null for nobody.</param>
        /// <param name="cancellationToken">Ends the job.</param>
        public async Task RunAsync(IProgress<Progress> progress = null,
                                   CancellationToken cancellationToken = default(CancellationToken))
        {
            await Task.Run(() =>
            {
                foreach (Progress step in Steps(cancellationToken))
                    if (progress != null) progress.Report(step);
            }).ConfigureAwait(false);
        }

        /// <summary>How far the job is. From any thread, also while another does the work.</summary>
        public Progress GetProgress()
        {
            using (var use = handle.Enter())
            {
                double left = Stat(use.Pointer, "seconds_left");
                return new Progress
                {
                    Fraction = Stat(use.Pointer, "progress"),
                    Layer = (int)Stat(use.Pointer, "layer"),
                    Layers = (int)Stat(use.Pointer, "n_layer"),
                    Seconds = Stat(use.Pointer, "seconds"),
                    SecondsLeft = left < 0 ? (double?)null : left,
                };
            }
        }

        /// <summary>What was done so far, as JSON: {"options": ..., "calibration": {"sequences", "tokens", "source"},
        /// "modules": [{"name", "bits", "loss", "damp", "method", "seconds", "note"}, ...], "seconds": n}; loss is the
        /// squared output error per token.</summary>
        public string Report()
        {
            IntPtr json;
            using (var use = handle.EnterAlone())
                GptqException.Check(GptqApi.gptq_quantizer_report_json(use.Pointer, out json));
            return NativeBuffer.Text(json);
        }

        /// <summary>Ends the step that is running, or the next one, and with it the job. From any thread; on a closed
        /// quantizer it does nothing.</summary>
        public void Cancel()
        {
            Handle.Use use;
            if (!handle.TryEnter(out use)) return;
            using (use) GptqApi.gptq_quantizer_cancel(use.Pointer);
        }

        /// <summary>Closes the job. An unfinished one is cancelled; its finished layers stay for the next run
        /// of the same job (Resume).</summary>
        public void Dispose()
        {
            Handle.Use use;
            if (!handle.TryEnter(out use)) return;
            handle.Dispose();  // nobody enters any more
            using (use) GptqApi.gptq_quantizer_cancel(use.Pointer);
        }

        // True when the output is complete.
        private bool Step(CancellationToken token)
        {
            using (var use = handle.EnterAlone())
            using (token.Register(Cancel))
            {
                int status = GptqApi.gptq_quantizer_step(use.Pointer);
                if (status == GptqApi.GPTQ_ERROR_CANCELLED && token.IsCancellationRequested)
                    throw new OperationCanceledException(GptqApi.gptq_last_error_message(), token);
                GptqException.Check(status);
                return status == GptqApi.GPTQ_DONE;
            }
        }

        private static double Stat(IntPtr quantizer, string key)
        {
            double value;
            GptqException.Check(GptqApi.gptq_quantizer_get_stat(quantizer, key, out value));
            return value;
        }
    }
}
