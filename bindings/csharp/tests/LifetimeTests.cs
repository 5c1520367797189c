// Closing: every order, twice, forgotten objects, use after it, and no growth.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.CompilerServices;
using Gptq;

internal static class LifetimeTests
{
    private static IEnumerable<T[]> Orders<T>(T[] items)
    {
        if (items.Length == 1) return new[] { items };
        return items.SelectMany((first, i) => Orders(items.Where((item, j) => j != i).ToArray())
                                                  .Select(rest => new[] { first }.Concat(rest).ToArray()));
    }

    public static void EveryOrderOfClosing()
    {
        int orders = 0;
        foreach (int[] order in Orders(new[] { 0, 1, 2, 3 }))
        {
            var options = new Options { MaxTokens = 5, CalibrationSamples = 1, CalibrationLength = 16 };
            var model = Model.Load(Test.ModelPath, options);
            var session = model.CreateSession(options);
            var quantizer = new Quantizer(Test.ModelPath, Path.Combine(Test.Scratch, "orders"), options);
            var closing = new IDisposable[] { options, model, session, quantizer };
            var chunks = session.Generate(Test.Prompt, options).GetEnumerator();
            Test.That(chunks.MoveNext(), "a chunk");
            quantizer.Steps().First();
            foreach (int i in order)
            {
                closing[i].Dispose();
                if (closing[i] == model && Array.IndexOf(order, 1) < Array.IndexOf(order, 2))
                    Test.That(chunks.MoveNext(), "a session that outlives its model");
            }
            chunks.Dispose();
            foreach (IDisposable item in closing) item.Dispose();
            ++orders;
        }
        Test.Equal(24, orders);
    }

    public static void AClosedObjectSaysSo()
    {
        var options = new Options();
        var model = Model.Load(Test.ModelPath);
        var session = model.CreateSession();
        var quantizer = new Quantizer(Test.ModelPath, Path.Combine(Test.Scratch, "closed"));
        foreach (var item in new IDisposable[] { options, model, session, quantizer }) item.Dispose();
        Test.Fails(ErrorCode.BadState, "the set of options is closed", () => options.Bits = 4);
        Test.Fails(ErrorCode.BadState, "the set of options is closed", () => Model.Load(Test.ModelPath, options));
        Test.Fails(ErrorCode.BadState, "the model is closed", () => model.CreateSession());
        Test.Fails(ErrorCode.BadState, "the session is closed", () => session.Complete(Test.Prompt));
        Test.Fails(ErrorCode.BadState, "the session is closed", () => session.GetLogits());
        Test.Fails(ErrorCode.BadState, "the quantizer is closed", () => quantizer.Run());
        session.Cancel();
        session.ClearCancel();
        quantizer.Cancel();
    }

    public static void OutOfOrderIsAnErrorOfTheLibrary()
    {
        using (var session = Test.SharedModel.CreateSession())
        {
            Test.Fails(ErrorCode.BadState, "", () => session.Complete());
            Test.Fails(ErrorCode.BadState, "", () => session.Prefill());
            Test.Fails(ErrorCode.BadState, "", () => session.GetLogits());
            Test.Fails(ErrorCode.NotFound, "decode_tokens", () => session.GetStat("decode_token"));
            Test.Fails(ErrorCode.InvalidArgument, "99999999", () => session.Append(new[] { 99999999 }));
            // an append ends the generation under way
            var chunks = session.Generate(Test.Prompt, Test.Greedy()).GetEnumerator();
            Test.That(chunks.MoveNext(), "a chunk");
            session.Append("and");
            Test.Fails(ErrorCode.BadState, "begin", () => chunks.MoveNext());
        }
    }

    public static void TwoThousandOptionsAndSessionsLeaveNothing()
    {
        Action<int> cycle = times =>
        {
            for (int i = 0; i < times; ++i)
                using (var options = new Options { MaxTokens = 2, Temperature = 0.5, Device = "cpu" })
                using (var session = Test.SharedModel.CreateSession(options))
                {
                    if (i % 10 == 0) session.Complete("A", options);
                    if (i % 100 != 0) continue;
                    using (var model = Model.Load(Test.ModelPath)) model.Tokenize("A");
                }
        };
        cycle(400);
        Test.DoesNotGrow(() => cycle(2000));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Forget(int times)
    {
        for (int i = 0; i < times; ++i)
        {
            var session = Test.SharedModel.CreateSession(new Options { Seed = i });
            session.Append(Enumerable.Repeat(5, 200).ToArray());
            session.Prefill();
            if (i % 10 == 0) Test.Collect();
        }
    }

    public static void ForgottenObjectsAreFreed()
    {
        Forget(50);
        Test.DoesNotGrow(() => Forget(200));
    }
}
