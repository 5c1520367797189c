// The loop that a C# program writes: Bench MODEL TOKENS, as bench.c
using System;
using System.Diagnostics;
using System.Globalization;
using Gptq;

static class Bench
{
    static int Generate(Session session, long tokens)
    {
        session.Reset();
        int characters = 0;
        foreach (Chunk chunk in session.Generate("Once upon a time", new Options { IgnoreEos = true, MaxTokens = tokens }))
            characters += chunk.Text.Length;
        if (characters == 0) throw new InvalidOperationException("no text");
        return characters;
    }

    static void Main(string[] args)
    {
        long tokens = long.Parse(args[1], CultureInfo.InvariantCulture);
        using (var model = Model.Load(args[0], new Options { Threads = 1 }))
        using (var session = model.CreateSession())
        {
            Generate(session, tokens);
            var watch = Stopwatch.StartNew();
            Generate(session, tokens);
            double seconds = watch.Elapsed.TotalSeconds;
            double inside = session.GetStat("prefill_seconds") + session.GetStat("decode_seconds");
            Console.WriteLine(string.Format(CultureInfo.InvariantCulture, "{0:F2} {1:F3}", tokens / seconds,
                100 * (1 - inside / seconds)));
        }
    }
}
