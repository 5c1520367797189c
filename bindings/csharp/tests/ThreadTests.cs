// Several threads where one is allowed, and where many are: an error with a code, never a crash.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Gptq;

internal static class ThreadTests
{
    private static void Together(int threads, Action<int> action)
    {
        var errors = new List<Exception>();
        var all = Enumerable.Range(0, threads).Select(i => new Thread(() =>
        {
            try
            {
                action(i);
            }
            catch (Exception error)
            {
                lock (errors) errors.Add(error);
            }
        })).ToList();
        all.ForEach(thread => thread.Start());
        all.ForEach(thread => thread.Join());
        if (errors.Count > 0) throw errors[0];
    }

    private static void IsBusy(string what, params Action[] actions)
    {
        foreach (Action action in actions) Test.Fails(ErrorCode.Busy, what, action);
    }

    public static void ASessionThatWorksIsBusyForTheOthers()
    {
        using (var session = Test.SharedModel.CreateSession(new Options { ContextLength = 30000 }))
        {
            session.Append(Enumerable.Repeat(5, 20000).ToArray());
            Task prefill = Task.Run(() => session.Prefill());
            Thread.Sleep(200);
            Test.That(!prefill.IsCompleted, "a prompt that takes longer");
            IsBusy("the session is in use by another thread", () => session.GetLogits(), () => session.GetStat("cache_bytes"),
                   () => session.TokenCount.ToString(), () => session.FinishReason.ToString(), () => session.Append("a"),
                   () => session.Reset(), () => session.Prefill(), () => session.Complete());
            session.Cancel();
            Test.Throws<OperationCanceledException>(() => prefill.GetAwaiter().GetResult());
            Test.Equal(20000L, session.TokenCount);
        }
    }

    public static void AQuantizerThatWorksIsBusyForTheOthers()
    {
        var options = new Options { CalibrationSamples = 512 };
        using (var quantizer = new Quantizer(Test.ModelPath, Path.Combine(Test.Scratch, "busy"), options))
        {
            Task run = quantizer.RunAsync();
            Thread.Sleep(200);
            Test.That(!run.IsCompleted, "a job that takes longer");
            IsBusy("the quantizer is in use by another thread", () => quantizer.Report(), () => quantizer.Run(),
                   () => quantizer.AddCalibrationText("late"));
            quantizer.Cancel();
            Test.Throws<OperationCanceledException>(() => run.GetAwaiter().GetResult());
        }
    }

    public static void ASessionThatAllWantGoesToOneAtATime()
    {
        using (var session = Test.SharedModel.CreateSession())
            Together(4, thread =>
            {
                for (int i = 0; i < 200; ++i)
                    try
                    {
                        session.Complete(Test.Prompt, Test.Greedy(4));
                        session.GetLogits();
                        session.Reset();
                    }
                    catch (GptqException error)
                    {
                        Test.That(error.Code == ErrorCode.Busy || error.Code == ErrorCode.BadState ||
                                  error.Code == ErrorCode.ContextFull, "an error of order, found " + error);
                    }
            });
    }

    public static void OptionsAreForManyThreads()
    {
        using (var options = new Options { MaxTokens = 1 })
        {
            Together(4, thread =>
            {
                for (int i = 0; i < 5000; ++i)
                {
                    if (thread == 0) options.Reset();
                    options.Seed = i;
                    options.SetJson("{\"order\": \"act\", \"device\": \"cpu\"}");
                    if (thread % 2 == 1) Options.FromJson(options.ToJson()).Dispose();
                    if (i % 50 == 0) Test.SharedModel.CreateSession(options).Dispose();
                }
            });
            options.Temperature = 0.5;
            Test.That(options.ToJson().Contains("temperature"), "options in order");
        }
    }
}
