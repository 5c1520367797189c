// Cancelling: within 100 ms in a generation and in a long prompt, never lost, and never meant for the next generation.
using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Gptq;

internal static class CancelTests
{
    private const int LongPrompt = 20000;  // tokens: seconds of work

    private static Options Endless
    {
        get { return new Options { IgnoreEos = true, ContextLength = 100000 }; }
    }

    private static int[] LongIds
    {
        get
        {
            int[] ids = Test.SharedModel.Tokenize(Test.Prompt);
            return Enumerable.Range(0, LongPrompt).Select(i => ids[i % ids.Length]).ToArray();
        }
    }

    private static void StillWorks(Session session)
    {
        session.Reset();
        Test.Equal(Test.Expected, session.Complete(Test.Prompt, Test.Greedy()));
    }

    public static void AGenerationEndsInTime()
    {
        using (var session = Test.SharedModel.CreateSession(Endless))
        {
            Test.InTime(() =>
            {
                session.Reset();
                return Test.CancelLatency(token => session.Complete(Test.Prompt, Endless, token), 200);
            });
            Test.Equal("cancelled", session.FinishReason);
            StillWorks(session);
        }
    }

    public static void ALongPromptEndsInTime()
    {
        using (var session = Test.SharedModel.CreateSession(Endless))
        {
            Action restart = () =>
            {
                session.Reset();
                session.Append(LongIds);
            };
            Test.InTime(() =>
            {
                restart();
                return Test.CancelLatency(token => session.Complete(null, Endless, token), 200);
            });
            Test.InTime(() =>
            {
                restart();
                return Test.CancelLatency(token => session.Prefill(LogitsKind.None, token), 200);
            });
            Test.Equal((long)LongPrompt, session.TokenCount);
            StillWorks(session);
        }
    }

    public static void AnAsyncGenerationEndsInTime()
    {
        using (var session = Test.SharedModel.CreateSession(Endless))
        {
            Test.InTime(() =>
            {
                session.Reset();
                return Test.CancelLatency(
                    token => session.CompleteAsync(Test.Prompt, Endless, token).GetAwaiter().GetResult(), 200);
            });
            StillWorks(session);
        }
    }

    public static async Task EitherTokenOfAnAsyncGenerationCancels()
    {
        using (var session = Test.SharedModel.CreateSession(Endless))
            for (int which = 0; which < 2; ++which)
            {
                var sources = new[] { new CancellationTokenSource(), new CancellationTokenSource() };
                var chunks = session.GenerateAsync(Test.Prompt, Endless, sources[0].Token)
                                    .GetAsyncEnumerator(sources[1].Token);
                Test.That(await chunks.MoveNextAsync(), "a chunk");
                sources[which].Cancel();
                bool cancelled = false;
                try
                {
                    await chunks.MoveNextAsync();
                }
                catch (OperationCanceledException)
                {
                    cancelled = true;
                }
                await chunks.DisposeAsync();
                Test.That(cancelled, "an end by token " + which);
                StillWorks(session);
                session.Reset();
            }
    }

    public static void SessionCancelEndsWhatRuns()
    {
        using (var session = Test.SharedModel.CreateSession(Endless))
        using (var timer = new Timer(state => session.Cancel(), null, 200, Timeout.Infinite))
        {
            Test.Throws<OperationCanceledException>(() => session.Complete(Test.Prompt, Endless));
            StillWorks(session);
        }
    }

    public static void ACancelBeforeTheBeginIsNotLost()
    {
        using (var session = Test.SharedModel.CreateSession())
        {
            session.Append(Test.Prompt);
            session.Cancel();
            Test.Throws<OperationCanceledException>(() => session.Complete(options: Test.Greedy()));
            session.Cancel();
            session.ClearCancel();
            Test.Equal(Test.Expected, session.Complete(options: Test.Greedy()));
        }
    }

    public static void ACancelledTokenLeavesTheSessionAsItWas()
    {
        using (var session = Test.SharedModel.CreateSession())
        {
            Test.Throws<OperationCanceledException>(
                () => session.Complete(Test.Prompt, Test.Greedy(), new CancellationToken(true)));
            Test.Equal(0L, session.TokenCount);
            Test.Equal(Test.Expected, session.Complete(Test.Prompt, Test.Greedy()));
        }
    }

    public static void ALateCancelDoesNotHitTheNextGeneration()
    {
        using (var session = Test.SharedModel.CreateSession())
        using (var source = new CancellationTokenSource())
        {
            using (var chunks = session.Generate(Test.Prompt, Test.Greedy(), source.Token).GetEnumerator())
            {
                Test.That(chunks.MoveNext(), "a chunk");
                source.Cancel();  // between two chunks, of which the second is never pulled
            }
            StillWorks(session);
        }
    }

    public static void ATokenOfADroppedIterationDoesNotHitTheNextGeneration()
    {
        using (var session = Test.SharedModel.CreateSession())
        using (var source = new CancellationTokenSource())
        {
            var dropped = session.Generate(Test.Prompt, Test.Greedy(), source.Token).GetEnumerator();
            Test.That(dropped.MoveNext(), "a chunk");
            session.Reset();
            using (var chunks = session.Generate(Test.Prompt, Test.Greedy(3)).GetEnumerator())
            {
                Test.That(chunks.MoveNext(), "a chunk");
                source.Cancel();
                Test.That(chunks.MoveNext(), "another chunk");
            }
            StillWorks(session);
        }
    }

    public static void ACancelAboutTheEndHitsThisGenerationOrNone()
    {
        int cancelled = 0;
        int spins = 1000;  // goes to and fro about the end, however long that takes here
        using (var session = Test.SharedModel.CreateSession())
            for (int i = 0; i < 200; ++i)
            {
                session.Reset();
                var source = new CancellationTokenSource();
                int wait = spins;
                var canceller = new Thread(() =>
                {
                    Thread.SpinWait(wait);
                    source.Cancel();
                });
                canceller.Start();
                try
                {
                    session.Complete("A", Test.Greedy(2), source.Token);
                    spins -= spins / 5;
                }
                catch (OperationCanceledException)
                {
                    ++cancelled;
                    spins += spins / 4;
                }
                session.Complete("B", Test.Greedy(1));  // throws if the cancel comes here
                canceller.Join();
            }
        Test.That(cancelled < 200, "some that end by themselves");
    }

    // Milliseconds from closing the session, which comes after the delay, to the end of its generation.
    private static double ClosingLatency(int[] prompt, int delay)
    {
        var session = Test.SharedModel.CreateSession(Endless);
        session.Append(prompt);
        Exception end = null;
        var generating = new Thread(() => end = Test.Throws<Exception>(() => session.Complete(options: Endless)));
        generating.Start();
        Thread.Sleep(delay);
        var clock = Stopwatch.StartNew();
        session.Dispose();
        generating.Join();
        var closed = end as GptqException;
        Test.That(end is OperationCanceledException || (closed != null && closed.Code == ErrorCode.BadState),
                  "cancelled or closed, found " + end);
        return clock.Elapsed.TotalMilliseconds;
    }

    public static void ClosingASessionEndsWhatRuns()
    {
        int[] ids = Test.SharedModel.Tokenize(Test.Prompt);
        for (int i = 0; i < 20; ++i)
        {
            int delay = 5 * i;
            Test.InTime(() => ClosingLatency(ids, delay));
        }
        Test.InTime(() => ClosingLatency(LongIds, 200));
    }
}
