// Continues what is typed, line by line, until the end of the input: Chat MODEL. Ctrl-C ends an answer.
//
//   mcs -r:Gptq.dll Chat.cs && mono Chat.exe MODEL
using System;
using System.Text;
using System.Threading;
using Gptq;

internal static class Chat
{
    private static int Main(string[] args)
    {
        if (args.Length != 1)
        {
            Console.Error.WriteLine("usage: Chat MODEL");
            return 2;
        }
        Console.InputEncoding = Console.OutputEncoding = new UTF8Encoding(false);
        try
        {
            using (var model = Model.Load(args[0]))
            using (var session = model.CreateSession())
            using (var options = new Options { MaxTokens = 200 })
                for (string line; (line = Console.ReadLine()) != null;) Answer(session, line, options);
            return 0;
        }
        catch (GptqException error)
        {
            Console.Error.WriteLine(error.Message);
            return 1;
        }
    }

    private static void Answer(Session session, string line, Options options)
    {
        using (var stop = new CancellationTokenSource())
        {
            ConsoleCancelEventHandler onCtrlC = (sender, key) =>
            {
                key.Cancel = true;  // the program goes on
                stop.Cancel();
            };
            Console.CancelKeyPress += onCtrlC;
            try
            {
                foreach (Chunk chunk in session.Generate(line, options, stop.Token)) Console.Write(chunk.Text);
            }
            catch (OperationCanceledException)
            {
            }
            catch (GptqException error) when (error.Code == ErrorCode.ContextFull)
            {
                Console.Error.Write(error.Message + "; starting afresh");
                session.Reset();
            }
            finally
            {
                Console.CancelKeyPress -= onCtrlC;
            }
        }
        Console.WriteLine();
    }
}
