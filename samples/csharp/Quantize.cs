// Quantizes a model folder to 4 bits: Quantize MODEL OUT [CALIBRATION.txt]. Ctrl-C ends it and leaves no output.
//
//   mcs -r:Gptq.dll Quantize.cs && mono Quantize.exe MODEL OUT
using System;
using System.IO;
using System.Threading;
using Gptq;

internal static class Quantize
{
    private const int BarWidth = 30;

    private static int Main(string[] args)
    {
        if (args.Length != 2 && args.Length != 3)
        {
            Console.Error.WriteLine("usage: Quantize MODEL OUT [CALIBRATION.txt]");
            return 2;
        }
        try
        {
            using (var stop = new CancellationTokenSource())
            using (var options = new Options { Bits = 4, CalibrationSamples = 32, CalibrationLength = 256 })
            using (var quantizer = new Quantizer(args[0], args[1], options))
            {
                Console.CancelKeyPress += (sender, key) =>
                {
                    key.Cancel = true;
                    stop.Cancel();
                };
                // without a text the model writes its own
                if (args.Length == 3) quantizer.AddCalibrationText(File.ReadAllText(args[2]));
                foreach (Progress progress in quantizer.Steps(stop.Token)) Draw(progress);
            }
            Console.Error.WriteLine();
            return 0;
        }
        catch (Exception error) when (error is GptqException || error is OperationCanceledException || error is IOException)
        {
            Console.Error.WriteLine();
            Console.Error.WriteLine(error.Message);
            return 1;
        }
    }

    private static void Draw(Progress progress)
    {
        int filled = (int)(progress.Fraction * BarWidth);
        string left = progress.SecondsLeft == null ? "" : string.Format(", {0:0} s left", progress.SecondsLeft);
        Console.Error.Write("\r[{0}{1}] {2,3:0} %  layer {3}/{4}{5}   ", new string('#', filled),
                            new string('.', BarWidth - filled), 100 * progress.Fraction, progress.Layer, progress.Layers, left);
    }
}
