// Quantizing: progress, the result, cancelling, errors.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Gptq;

internal static class QuantizerTests
{
    private static readonly Options Small = new Options { CalibrationSamples = 4, CalibrationLength = 64, GroupSize = 32 };

    private sealed class Recorder : IProgress<Progress>
    {
        public readonly List<Progress> Seen = new List<Progress>();

        public void Report(Progress value)
        {
            Seen.Add(value);
        }
    }

    private static string Output(string name)
    {
        string path = Path.Combine(Test.Scratch, name);
        if (Directory.Exists(path)) Directory.Delete(path, true);
        return path;
    }

    private static void LeavesNoOutput(string output)
    {
        Test.That(!Directory.Exists(output), "no output folder");
        string name = Path.GetFileName(output);
        string[] left = Directory.GetFileSystemEntries(Test.Scratch, "*" + name + "*")
            .Where(entry => Path.GetFileName(entry) != "." + name + ".unfinished").ToArray(); // for the next run
        Test.That(left.Length == 0, "nothing beside it, found " + string.Join(", ", left));
    }

    public static void AQuantizedModelIsConverted()
    {
        string quantized = Output("to-convert"), dense = Output("dense");
        using (var quantizer = new Quantizer(Test.ModelPath, quantized, Small)) quantizer.Run();
        Test.Fails(ErrorCode.InvalidArgument, "format", () => Model.Convert(quantized, dense, null));
        var options = new Options { Format = "dense" };
        Model.Convert(quantized, dense, options);
        using (var model = Model.Load(dense)) Test.Equal(0L, model.GetInt("quantized"));
        Test.Fails(ErrorCode.Io, dense, () => Model.Convert(quantized, dense, options));
    }

    public static void StepsTellTheProgressAndMakeAModel()
    {
        string output = Output("steps");
        using (var quantizer = new Quantizer(Test.ModelPath, output, Small))
        {
            quantizer.AddCalibrationText(string.Concat(Enumerable.Repeat(Test.Expected, 4)));
            quantizer.AddCalibrationTokens(Test.SharedModel.Tokenize(Test.Expected));
            var seen = quantizer.Steps().ToList();
            Test.That(seen.Count > Test.SharedModel.GetInt("n_layer"), "a step a layer");
            for (int i = 1; i < seen.Count; ++i) Test.That(seen[i].Fraction >= seen[i - 1].Fraction, "no way back");
            Test.Equal(1.0, seen.Last().Fraction);
            Test.Equal((int)Test.SharedModel.GetInt("n_layer"), seen.Last().Layers);
            Test.That(seen.Any(step => step.SecondsLeft > 0), "an estimate");
            Test.That(quantizer.Report().Contains("q_proj"), "modules in the report");
            Test.Fails(ErrorCode.BadState, "", () => quantizer.AddCalibrationText("late"));
        }
        using (var model = Model.Load(output))
        using (var session = model.CreateSession())
        {
            Test.Equal(4L, model.GetInt("bits"));
            Test.That(session.Complete(Test.Prompt, Test.Greedy(20)).Length > 0, "text");
        }
        Test.Fails(ErrorCode.Io, "steps", () => new Quantizer(Test.ModelPath, output, Small));
    }

    public static async Task RunAsyncReports()
    {
        string output = Output("async");
        var recorder = new Recorder();
        using (var quantizer = new Quantizer(Test.ModelPath, output, Small))
        {
            Task run = quantizer.RunAsync(recorder);
            while (!run.IsCompleted)
            {
                Test.That(quantizer.GetProgress().Fraction <= 1, "progress from another thread");
                await Task.Delay(20);
            }
            await run;
        }
        Test.Equal(1.0, recorder.Seen.Last().Fraction);
        Test.That(Directory.Exists(output), "an output folder");
    }

    public static void ACancelLeavesNoOutput()
    {
        string output = Output("cancelled");
        Test.InTime(() =>
        {
            using (var quantizer = new Quantizer(Test.ModelPath, output, new Options { CalibrationSamples = 512 }))
            {
                double taken = Test.CancelLatency(token => quantizer.Run(token), 300);
                Test.Fails(ErrorCode.BadState, "", () => quantizer.Run());
                return taken;
            }
        });
        LeavesNoOutput(output);
    }

    public static void ACancelledTokenEndsTheSteps()
    {
        string output = Output("stopped");
        using (var source = new CancellationTokenSource())
        using (var quantizer = new Quantizer(Test.ModelPath, output, Small))
            Test.Throws<OperationCanceledException>(() =>
            {
                foreach (Progress step in quantizer.Steps(source.Token)) source.Cancel();
            });
        LeavesNoOutput(output);
    }

    public static void ClosingAnUnfinishedJobEndsIt()
    {
        string output = Output("dropped");
        using (var quantizer = new Quantizer(Test.ModelPath, output, Small)) quantizer.Steps().Take(3).Count();
        LeavesNoOutput(output);
        output = Output("ended");
        var running = new Quantizer(Test.ModelPath, output, new Options { CalibrationSamples = 512 });
        Task run = running.RunAsync();
        Thread.Sleep(200);
        running.Dispose();
        Test.Throws<OperationCanceledException>(() => run.GetAwaiter().GetResult());
        LeavesNoOutput(output);
    }

    public static void BadArgumentsAreRefused()
    {
        Test.Fails(ErrorCode.NotFound, "no-model", () => new Quantizer("no-model", Output("none")));
        using (var quantizer = new Quantizer(Test.ModelPath, Output("none"), Small))
            Test.Fails(ErrorCode.InvalidArgument, "99999999", () => quantizer.AddCalibrationTokens(new[] { 99999999 }));
    }
}
