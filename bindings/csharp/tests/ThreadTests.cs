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

    private static void Storm(Random random, int calls, params Action[] actions)
    {
        for (int i = 0; i < calls; ++i)
            try
            {
                actions[random.Next(actions.Length)]();
            }
            catch (GptqException)
            {
            }
            catch (OperationCanceledException)
            {
            }
    }

    // Whatever several threads call at once, closing included, is done or is an error of this binding.
    public static void AnythingByAnybodyIsAnErrorAtMost()
    {
        string output = Path.Combine(Test.Scratch, "storm");
        for (int round = 0; round < 30; ++round)
        {
            var options = new Options { MaxTokens = 4, CalibrationSamples = 2, CalibrationLength = 16, Overwrite = true };
            var model = Model.Load(Test.ModelPath);
            var session = model.CreateSession();
            var source = new CancellationTokenSource();
            var other = model.CreateSession();
            var chunks = session.Generate("Once", options, source.Token).GetEnumerator();
            var generations = new[] { other.Begin("Once", options, source.Token), session.Begin("Once", options) };
            using (var quantizer = new Quantizer(Test.ModelPath, output, options))
                Together(5, thread =>
                {
                    var random = new Random(100 * round + thread);
                    Action[] calls =
                    {
                        () => session.Complete("a\0\uD83D", options, source.Token), () => session.GetLogits(),
                        () => session.Prefill(LogitsKind.All, source.Token), () => session.Append(new[] { 1, 2, -3 }),
                        () => session.Append("more"), () => session.Reset(), () => session.Cancel(),
                        () => session.ClearCancel(), () => chunks.MoveNext(), () => session.GetStat("cache_bytes"),
                        () => session.Generate("b", options).GetEnumerator().MoveNext(),
                        () => Generation.NextAll(generations), () => Generation.NextAll(generations.Reverse()),
                        () => generations[0] = other.Begin("d", options, source.Token),
                        () => generations[random.Next(2)] = session.Begin("e", options), () => generations[0].Dispose(),
                        () => session.CompleteAsync("c", options, source.Token).GetAwaiter().GetResult(),
                        () => model.Detokenize(model.Tokenize("x y z")), () => model.CreateSession(options).Append("z"),
                        () => options.Seed = random.Next(), () => options.ToJson(), () => options.Reset(),
                        () => quantizer.Steps(source.Token).First(), () => quantizer.Report(),
                        () => quantizer.GetProgress(), () => quantizer.AddCalibrationTokens(new[] { 1, 2, 3 }),
                    };
                    Storm(random, 40, calls);
                    Action[] ends = { session.Dispose, other.Dispose, model.Dispose, options.Dispose, quantizer.Dispose, source.Cancel, GC.Collect };
                    Storm(random, 20, calls.Concat(ends).ToArray());
                });
            session.Dispose();
            other.Dispose();
            model.Dispose();
        }
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
