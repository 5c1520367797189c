// Runs the tests: every public static method without arguments of a class named ...Tests.
//   tests.exe SCRATCH [PART_OF_A_NAME]    prints "ok NAME" or "FAIL NAME" and why; $GPTQ_TEST_MODEL, $GPTQ_TEST_EXPECTED
using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Threading;
using System.Threading.Tasks;
using Gptq;

internal static class Runner
{
    private static int Main(string[] args)
    {
        Test.Scratch = args[0];
        var tests = from type in Assembly.GetExecutingAssembly().GetTypes()
                    where type.Name.EndsWith("Tests")
                    from method in type.GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly)
                    select method;
        int failed = 0;
        foreach (MethodInfo test in tests)
        {
            string name = test.DeclaringType.Name.Replace("Tests", "") + "." + test.Name;
            if (args.Length > 1 && !name.Contains(args[1])) continue;
            try
            {
                object result = test.Invoke(null, null);
                if (result is Task) ((Task)result).GetAwaiter().GetResult();
                Console.WriteLine("ok   csharp " + name);
            }
            catch (Exception error)
            {
                ++failed;
                if (error is TargetInvocationException) error = error.InnerException;
                Console.WriteLine("FAIL csharp " + name + "\n     " + error.ToString().Replace("\n", "\n     "));
            }
        }
        return failed == 0 ? 0 : 1;
    }
}

internal static class Test
{
    public const string Prompt = "Once upon a time";
    public const int Tokens = 200;

    public static readonly string ModelPath = Environment.GetEnvironmentVariable("GPTQ_TEST_MODEL");
    public static string Scratch;

    private static readonly Lazy<Model> shared = new Lazy<Model>(() => Model.Load(ModelPath));

    public static Model SharedModel
    {
        get { return shared.Value; }
    }

    // What samples/c/generate.c prints: the text, and a line end of its own.
    public static string Expected
    {
        get
        {
            string text = File.ReadAllText(Environment.GetEnvironmentVariable("GPTQ_TEST_EXPECTED"));
            return text.Substring(0, text.Length - 1);
        }
    }

    public static Options Greedy(int maxTokens = Tokens)
    {
        return new Options { MaxTokens = maxTokens };
    }

    public static void That(bool condition, string what)
    {
        if (!condition) throw new Exception("expected: " + what);
    }

    public static void Equal<T>(T wanted, T found)
    {
        if (!Equals(wanted, found)) throw new Exception("wanted <" + wanted + ">, found <" + found + ">");
    }

    public static T Throws<T>(Action action) where T : Exception
    {
        try
        {
            action();
        }
        catch (T error)
        {
            return error;
        }
        throw new Exception("expected " + typeof(T).Name);
    }

    public static void Fails(ErrorCode code, string part, Action action)
    {
        var error = Throws<GptqException>(action);
        Equal(code, error.Code);
        That(error.Message.Contains(part), "\"" + part + "\" in \"" + error.Message + "\"");
    }

    // Milliseconds from the cancel, which comes after the delay, to the end of the action, which has to end as cancelled.
    public static double CancelLatency(Action<CancellationToken> action, int delay)
    {
        using (var source = new CancellationTokenSource())
        {
            var clock = new Stopwatch();
            var canceller = new Thread(() =>
            {
                Thread.Sleep(delay);
                clock.Start();
                source.Cancel();
            });
            canceller.Start();
            var error = Throws<OperationCanceledException>(() => action(source.Token));
            clock.Stop();
            canceller.Join();
            Equal(source.Token, error.CancellationToken);
            return clock.Elapsed.TotalMilliseconds;
        }
    }

    // The machine may be busy with other things: the best of a few attempts counts, each milliseconds to an end.
    public static void InTime(Func<double> attempt)
    {
        double taken = 0;
        for (int i = 0; i < 5; ++i)
            if ((taken = attempt()) < 100) return;
        That(false, "an end within 100 ms, took " + taken);
    }

    // A leak grows with every round; what malloc and the heaps of the runtime keep does not.
    public static void DoesNotGrow(Action round)
    {
        long growth = 0;
        for (int i = 0; i < 4; ++i)
        {
            long before = ResidentBytes();
            round();
            growth = ResidentBytes() - before;
            if (growth < 8 << 20) return;
        }
        That(false, "less than 8 MB of growth, found " + growth + " for the fourth time");
    }

    public static void Collect()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
    }

    // Bytes in memory of this process, after a full collection.
    private static long ResidentBytes()
    {
        Collect();
        string status = File.ReadAllText("/proc/self/statm");
        return long.Parse(status.Split(' ')[1]) * Environment.SystemPageSize;
    }
}
