// Generation: the text of the C sample by every way of pulling, several threads, what a session tells.
using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Gptq;

internal static class GenerationTests
{
    public static void ForeachGivesTheTextOfTheCSample()
    {
        var text = new StringBuilder();
        int tokens = 0;
        using (var session = Test.SharedModel.CreateSession())
        {
            foreach (Chunk chunk in session.Generate(Test.Prompt, Test.Greedy()))
            {
                Test.That(chunk.Text.IndexOf('\uFFFD') < 0, "whole characters");
                if (chunk.Token >= 0) ++tokens;
                text.Append(chunk);
            }
            Test.Equal(Test.Expected, text.ToString());
            Test.Equal(Test.Tokens, tokens);
            Test.Equal("length", session.FinishReason);
            Test.Equal((double)tokens, session.GetStat("decode_tokens"));
            Test.Equal((long)Test.SharedModel.Tokenize(Test.Prompt, TokenizeFlags.AddSpecial).Length + tokens,
                       session.TokenCount);
        }
    }

    public static void ATextStopsIt()
    {
        int middle = Test.Expected.Length / 2;
        string stop = Test.Expected.Substring(middle, 5);
        Options options = Test.Greedy();
        options.Stop = new[] { "no such text", stop };
        using (var session = Test.SharedModel.CreateSession())
        {
            string text = string.Concat(session.Generate(Test.Prompt, options).Select(chunk => chunk.Text));
            Test.Equal(Test.Expected.Substring(0, Test.Expected.IndexOf(stop, StringComparison.Ordinal)), text);
            Test.Equal("stop", session.FinishReason);
        }
    }

    public static async Task AsyncGivesTheTextOfTheCSample()
    {
        var text = new StringBuilder();
        using (var session = Test.SharedModel.CreateSession())
        {
            var chunks = session.GenerateAsync(Test.Prompt, Test.Greedy()).GetAsyncEnumerator(CancellationToken.None);
            try
            {
                while (await chunks.MoveNextAsync()) text.Append(chunks.Current.Text);
                Test.That(!await chunks.MoveNextAsync(), "nothing after the end");
            }
            finally
            {
                await chunks.DisposeAsync();
            }
        }
        Test.Equal(Test.Expected, text.ToString());
    }

    public static async Task CompleteGivesTheTextOfTheCSample()
    {
        using (var session = Test.SharedModel.CreateSession())
        {
            Test.Equal(Test.Expected, session.Complete(Test.Prompt, Test.Greedy()));
            session.Reset();
            Test.Equal(0L, session.TokenCount);
            Test.Equal(Test.Expected, await session.CompleteAsync(Test.Prompt, Test.Greedy()));
        }
    }

    public static void FourThreadsOnOneModelGiveOneText()
    {
        var texts = new string[4];
        var threads = Enumerable.Range(0, texts.Length).Select(i => new Thread(() =>
        {
            using (var session = Test.SharedModel.CreateSession())
                texts[i] = session.Complete(Test.Prompt, Test.Greedy());
        })).ToList();
        threads.ForEach(thread => thread.Start());
        threads.ForEach(thread => thread.Join());
        foreach (string text in texts) Test.Equal(Test.Expected, text);
    }

    public static void ALeftIterationGoesOnWhereItStopped()
    {
        using (var session = Test.SharedModel.CreateSession())
        {
            string text = string.Concat(session.Generate(Test.Prompt, Test.Greedy()).Take(50));
            text += session.Complete(options: Test.Greedy(Test.Tokens - 50));
            Test.Equal(Test.Expected, text);
        }
    }

    public static void AGenerationIsNotPulledPastAnother()
    {
        using (var session = Test.SharedModel.CreateSession())
        {
            var first = session.Generate(Test.Prompt, Test.Greedy()).GetEnumerator();
            Test.That(first.MoveNext(), "a chunk");
            var second = session.Generate(options: Test.Greedy(2)).GetEnumerator();
            Test.That(second.MoveNext(), "a chunk of the second");
            Test.Fails(ErrorCode.BadState, "has begun another", () => first.MoveNext());
            Test.That(!first.MoveNext(), "nothing after the error");
            Test.That(second.MoveNext() && !second.MoveNext(), "the second as it was");
        }
    }

    public static void IdsAndTextAppendTheSame()
    {
        using (var session = Test.SharedModel.CreateSession())
        {
            session.Append(Test.SharedModel.Tokenize(Test.Prompt, TokenizeFlags.AddSpecial));
            Test.Equal(Test.Expected, session.Complete(options: Test.Greedy()));
        }
    }

    public static void LogitsHaveRowsOfTheVocabulary()
    {
        int[] ids = Test.SharedModel.Tokenize(Test.Prompt, TokenizeFlags.AddSpecial);
        using (var session = Test.SharedModel.CreateSession())
        {
            session.Append(ids);
            session.Prefill(LogitsKind.All);
            float[][] rows = session.GetLogits();
            Test.Equal(ids.Length, rows.Length);
            float[] last = rows[rows.Length - 1];
            Test.Equal((int)Test.SharedModel.GetInt("vocab_size"), last.Length);
            int best = Array.IndexOf(last, last.Max());
            Test.Equal(best, session.Generate(options: Test.Greedy(1)).First().Token);
            Test.Equal(1, session.GetLogits().Length);
        }
    }

    public static void ASeedGivesATextOfItsOwn()
    {
        Func<long, string> write = seed =>
        {
            using (var session = Test.SharedModel.CreateSession())
                return session.Complete(Test.Prompt, new Options { Temperature = 1, Seed = seed, MaxTokens = 40 });
        };
        Test.Equal(write(1), write(1));
        Test.That(write(1) != write(2), "another text for another seed");
    }

    public static void TheContextEndsAGeneration()
    {
        using (var session = Test.SharedModel.CreateSession(new Options { ContextLength = 16 }))
        {
            session.Complete(Test.Prompt, new Options { IgnoreEos = true });
            Test.Equal("context", session.FinishReason);
            Test.Fails(ErrorCode.ContextFull, "16", () => session.Append("more"));
        }
    }
}
