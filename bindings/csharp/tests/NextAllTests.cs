// Several generations at once: each writes what it would write alone, and ends or fails alone.
using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Gptq;

internal static class NextAllTests
{
    private static readonly string[] Prompts =
        { Test.Prompt, "The dog", "One day, Tom and his friend Lily went to the park", "A" };

    // Sums are rounded in another order when sessions go together: in fp32 that changes no token.
    private static readonly Lazy<Model> exact = new Lazy<Model>(LoadExact);

    private static Model LoadExact()
    {
        return Model.Load(Test.ModelPath, new Options { Compute = "exact" });
    }

    // Past the end of the text.
    private static Options Exactly(int tokens)
    {
        return new Options { MaxTokens = tokens, IgnoreEos = true };
    }

    private static string Alone(int which, int tokens)
    {
        using (var session = exact.Value.CreateSession()) return session.Complete(Prompts[which], Exactly(tokens));
    }

    // A session for each prompt.
    private static void InSessions(Action<Session[]> action)
    {
        Session[] sessions = Prompts.Select(prompt => exact.Value.CreateSession()).ToArray();
        action(sessions);
        foreach (Session session in sessions) session.Dispose();
    }

    private static List<Generation> Begin(Session[] sessions, int tokens, CancellationToken token = default(CancellationToken))
    {
        return sessions.Select((session, i) => session.Begin(Prompts[i], Exactly(tokens), token)).ToList();
    }

    private static ErrorCode? Failure(Generation generation)
    {
        if (generation.Error == null) return null;
        return generation.Error is OperationCanceledException ? ErrorCode.Cancelled : ((GptqException)generation.Error).Code;
    }

    private static string[] Together(List<Generation> generations)
    {
        var texts = new string[generations.Count];
        while (Generation.NextAll(generations))
            for (int i = 0; i < texts.Length; ++i) texts[i] += generations[i].Current.Text;
        return texts;
    }

    public static void EachWritesWhatItWritesAlone()
    {
        InSessions(sessions =>
        {
            Func<int, int> length = which => 10 * (which + 1);
            var generations = sessions.Select((session, i) => session.Begin(Prompts[i], Exactly(length(i)))).ToList();
            var texts = new string[sessions.Length];
            int rounds = 0;
            for (; Generation.NextAll(generations); ++rounds)
                for (int i = 0; i < texts.Length; ++i)
                {
                    Test.Equal(rounds >= length(i), generations[i].Ended);
                    Test.Equal(rounds >= length(i), generations[i].Current.Token < 0);
                    texts[i] += generations[i].Current;
                }
            Test.Equal(40, rounds);
            for (int i = 0; i < texts.Length; ++i)
            {
                Test.Equal(Alone(i, length(i)), texts[i]);
                Test.Equal("length", sessions[i].FinishReason);
                Test.Equal((double)length(i), sessions[i].GetStat("decode_tokens"));
                Test.That(generations[i].Error == null, "no error");
            }
            Test.That(!Generation.NextAll(generations), "nothing after the end");
            Test.That(!Generation.NextAll(new Generation[0]), "nothing of nobody");
        });
    }

    public static async Task AsyncAndSomeOfThemAndAloneInBetween()
    {
        var sessions = Prompts.Select(prompt => exact.Value.CreateSession()).ToArray();
        var generations = new List<Generation>();
        for (int i = 0; i < sessions.Length; ++i) generations.Add(await sessions[i].BeginAsync(Prompts[i], Exactly(9)));
        var texts = new string[sessions.Length];
        Action<int> add = which => texts[which] += generations[which].Current;
        for (int round = 0; round < 3; ++round)
        {
            foreach (int[] some in new[] { new[] { 0, 1 }, new[] { 3, 1, 0 } })
            {
                var list = some.Select(which => generations[which]).ToList();
                Task<bool> pulling = Generation.NextAllAsync(list);
                list.Clear();
                Test.That(await pulling, "a chunk");
                foreach (int which in some) add(which);
            }
            Test.That(generations[2].MoveNext(), "a chunk alone");
            add(2);
        }
        while (await Generation.NextAllAsync(generations)) Array.ForEach(new[] { 0, 1, 2, 3 }, add);
        for (int i = 0; i < texts.Length; ++i) Test.Equal(Alone(i, 9), texts[i]);
        foreach (Session session in sessions) session.Dispose();
    }

    public static void TheContextEndsOneAlone()
    {
        using (var small = exact.Value.CreateSession(new Options { ContextLength = 16 }))
        using (var large = exact.Value.CreateSession())
        {
            var both = new List<Generation> { small.Begin(Test.Prompt, Exactly(0)), large.Begin(Test.Prompt, Exactly(30)) };
            Test.Equal(Alone(0, 30), Together(both)[1]);
            Test.Equal("context", small.FinishReason);
            Test.That(both[0].Error == null, "an end without error");
        }
    }

    private static void EndsOneAlone(int which, ErrorCode code, Action<Session, CancellationTokenSource> end)
    {
        InSessions(sessions =>
        {
            var source = new CancellationTokenSource();
            List<Generation> generations = Begin(sessions, 8);
            generations[which].Dispose();
            sessions[which].Reset();
            generations[which] = sessions[which].Begin(Prompts[which], Exactly(8), source.Token);
            var texts = new string[sessions.Length];
            for (int round = 0; round < 8; ++round)
            {
                if (round == 3) end(sessions[which], source);
                Test.That(Generation.NextAll(generations), "a chunk");
                for (int i = 0; i < texts.Length; ++i)
                {
                    Test.Equal(i == which && round >= 3, generations[i].Current.Token < 0);
                    texts[i] += generations[i].Current;
                }
            }
            Test.Equal(code, Failure(generations[which]));
            var cancelled = generations[which].Error as OperationCanceledException;
            if (source.IsCancellationRequested) Test.Equal(source.Token, cancelled.CancellationToken);
            if (code == ErrorCode.Cancelled) texts[which] += sessions[which].Complete(options: Exactly(5));
            for (int i = 0; i < texts.Length; ++i)
            {
                if (i != which) Test.That(generations[i].Error == null, "the others without error");
                if (i != which || code == ErrorCode.Cancelled) Test.Equal(Alone(i, 8), texts[i]);
            }
        });
    }

    public static void ATokenACancelOrACloseEndsOneAlone()
    {
        foreach (int which in new[] { 0, 2 })
        {
            EndsOneAlone(which, ErrorCode.Cancelled, (session, source) => source.Cancel());
            EndsOneAlone(which, ErrorCode.Cancelled, (session, source) => session.Cancel());
            EndsOneAlone(which, ErrorCode.BadState, (session, source) => session.Dispose());
        }
    }

    public static void ATokenEndsAllThatHaveIt()
    {
        Test.InTime(() =>
        {
            var clock = new Stopwatch();
            InSessions(sessions =>
            {
                var source = new CancellationTokenSource();
                List<Generation> generations = Begin(sessions, 0, source.Token);
                var canceller = new Thread(() =>
                {
                    Thread.Sleep(50);
                    clock.Start();
                    source.Cancel();
                });
                canceller.Start();
                Together(generations);
                clock.Stop();
                canceller.Join();
                foreach (Generation generation in generations)
                    Test.Equal(source.Token, ((OperationCanceledException)generation.Error).CancellationToken);
                foreach (Session session in sessions) session.Complete(options: Exactly(3));  // throws if the cancel comes here
            });
            return clock.Elapsed.TotalMilliseconds;
        });
    }

    public static void ATokenWhoseSourceIsGoneEndsOneAloneAtWorst()
    {
        InSessions(sessions =>
        {
            List<Generation> generations = Begin(sessions, 3);
            generations[1].Dispose();
            var source = new CancellationTokenSource();
            generations[1] = sessions[1].Begin(null, Exactly(3), source.Token);
            source.Dispose();
            Test.That(Generation.NextAll(generations), "a chunk of the others");
            Test.That(generations[1].Error == null || generations[1].Error is ObjectDisposedException, "the error of .NET");
            Together(generations);
            Test.Equal("length", sessions[2].FinishReason);
        });
    }

    public static void ALateTokenSparesWhatComesNext()
    {
        for (int i = 0; i < 30; ++i)
            InSessions(sessions =>
            {
                var source = new CancellationTokenSource();
                List<Generation> generations = Begin(sessions, 2, source.Token);
                Generation.NextAll(generations);
                var canceller = new Thread(source.Cancel);
                canceller.Start();  // about when they end
                Together(generations);
                foreach (Generation generation in generations)
                    Test.That(generation.Error == null || Failure(generation) == ErrorCode.Cancelled, "the end or the cancel");
                foreach (Session session in sessions) session.Complete(options: Exactly(2));  // throws if the cancel comes here
                canceller.Join();
            });
    }

    public static void TwoOfOneSessionTakeNoStep()
    {
        InSessions(sessions =>
        {
            List<Generation> generations = Begin(sessions, 3);
            long before = sessions[1].TokenCount;
            Test.Fails(ErrorCode.InvalidArgument, "generations[1] and [4] are of one session",
                       () => Generation.NextAll(generations.Concat(new[] { generations[1] })));
            Test.Fails(ErrorCode.InvalidArgument, "generations[1] is null",
                       () => Generation.NextAll(new[] { generations[0], null }));
            Test.Fails(ErrorCode.InvalidArgument, "generations is null", () => Generation.NextAll(null));
            Test.Equal(before, sessions[1].TokenCount);
            Together(generations);  // none was harmed
            Test.Equal(before + 3, sessions[1].TokenCount);
            // one that has ended does not count
            Generation more = sessions[1].Begin(options: Exactly(1));
            Test.That(Generation.NextAll(new[] { generations[1], more, generations[1] }), "a chunk");
        });
    }

    public static void OfSeveralModelsNoneTakesAStep()
    {
        using (Model other = LoadExact())
        using (var first = exact.Value.CreateSession())
        using (var second = other.CreateSession())
        {
            var both = new[] { first.Begin(Test.Prompt, Exactly(3)), second.Begin(Test.Prompt, Exactly(3)) };
            long before = first.TokenCount;
            Test.Fails(ErrorCode.InvalidArgument, "session 1 is of another model than session 0",
                       () => Generation.NextAll(both));
            Test.Equal(before, first.TokenCount);
            foreach (Generation generation in both)
                Test.Equal(Alone(0, 3), Together(new List<Generation> { generation })[0]);
        }
    }

    public static void OneThatIsOverOrBusyFailsAlone()
    {
        InSessions(sessions =>
        {
            List<Generation> generations = Begin(sessions, 5);
            Generation more = sessions[1].Begin(options: Exactly(5));
            using (var busy = exact.Value.CreateSession(new Options { ContextLength = 30000 }))
            {
                Generation waiting = busy.Begin(Test.Prompt);
                busy.Append(Enumerable.Repeat(5, 20000).ToArray());
                Task prefill = Task.Run(() =>
                {
                    for (;;)
                        try
                        {
                            busy.Prefill();
                            return;
                        }
                        catch (GptqException error) when (error.Code == ErrorCode.Busy)  // with the one that asks below
                        {
                        }
                });
                for (bool inside = false; !inside && !prefill.IsCompleted;)
                    try
                    {
                        Thread.Sleep(1);
                        busy.TokenCount.ToString();
                    }
                    catch (GptqException error)
                    {
                        inside = error.Code == ErrorCode.Busy;
                    }
                Test.That(Generation.NextAll(new[] { generations[0], generations[1], waiting }), "a chunk of the first");
                Test.Equal(ErrorCode.Busy, Failure(waiting));
                busy.Cancel();
                Test.Throws<OperationCanceledException>(() => prefill.GetAwaiter().GetResult());
            }
            Test.Equal(ErrorCode.BadState, Failure(generations[1]));
            string text = generations[0].Current.Text;
            Test.Equal(Alone(0, 5), text + Together(new List<Generation> { generations[0], more })[0]);
        });
    }

    public static void ACloseMeanwhileEndsItsOwn()
    {
        for (int round = 0; round < 20; ++round)
            InSessions(sessions =>
            {
                List<Generation> generations = Begin(sessions, 0);
                var random = new Random(round);
                var closing = new Thread(() =>
                {
                    foreach (Session session in sessions.OrderBy(session => random.Next()))
                    {
                        Thread.Sleep(2);
                        session.Dispose();
                    }
                });
                closing.Start();
                Together(generations);
                closing.Join();
                foreach (Generation generation in generations)
                    Test.That(Failure(generation) == ErrorCode.Cancelled || Failure(generation) == ErrorCode.BadState,
                              "cancelled or closed, found " + generation.Error);
            });
    }

    // Threads with the same generations in several orders: who comes second gets Busy, and nobody waits.
    public static void ListsThatOverlapEndAsBusyAtWorst()
    {
        int chunks = 0;
        for (int round = 0; round < 30; ++round)
            InSessions(sessions =>
            {
                List<Generation> generations = Begin(sessions, 40);
                var random = new Random(round);
                Task[] pulling = Enumerable.Range(0, 4).Select(i =>
                {
                    List<Generation> mine = generations.OrderBy(generation => random.Next()).ToList();
                    return Task.Run(() =>
                    {
                        while (Generation.NextAll(mine)) Interlocked.Increment(ref chunks);
                    });
                }).ToArray();
                Test.That(Task.WaitAll(pulling, 60000), "an end");
                foreach (Generation generation in generations)
                    Test.That(generation.Error == null || Failure(generation) == ErrorCode.Busy, "busy at worst");
            });
        Test.That(chunks > 0, "chunks");
    }
}
