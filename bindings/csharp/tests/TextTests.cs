// Text between .NET and C: 4-byte characters, U+0000, empty text, lone surrogates.
using System;
using System.Linq;
using System.Text;
using Gptq;

internal static class TextTests
{
    private const string Rocket = "\U0001F680";
    private static readonly string[] Texts =
    {
        "Hello", "", "nai\u0308ve \u00e9t\u00e9", Rocket + "\U0001F1E9\U0001F1EA\U0001F469\u200D\U0001F680" + Rocket,
        "\u6f22\u5b57 \U00020000", "a\0b", "\0", "\uFEFFmark", string.Concat(Enumerable.Repeat(Rocket, 2000)),
    };

    public static void TextSurvivesTokenizingAndBack()
    {
        foreach (string text in Texts)
            Test.Equal(text, Test.SharedModel.Detokenize(Test.SharedModel.Tokenize(text)));
    }

    public static void ALoneSurrogateCountsAsTheReplacementCharacter()
    {
        int[] ids = Test.SharedModel.Tokenize("a\uD83Db");
        Test.Equal("a\uFFFDb", Test.SharedModel.Detokenize(ids));
    }

    // A random walk over the vocabulary meets parts of characters: no chunk may hold half of one.
    public static void NoChunkSplitsACharacter()
    {
        var options = new Options { Temperature = 100, MaxTokens = 400, IgnoreEos = true };
        using (var session = Test.SharedModel.CreateSession())
        {
            var text = new StringBuilder();
            int empty = 0, before = session.Generate(Rocket, Test.Greedy(1)).Count();
            Test.Equal(1, before);
            session.Reset();
            session.Append(Rocket + Rocket);
            var ids = new System.Collections.Generic.List<int>();
            foreach (Chunk chunk in session.Generate(options: options))
            {
                if (chunk.Text.Length == 0) ++empty;
                for (int i = 0; i < chunk.Text.Length; ++i)
                    if (char.IsSurrogate(chunk.Text[i])) Test.That(char.IsSurrogatePair(chunk.Text, i++), "whole pairs");
                text.Append(chunk.Text);
                if (chunk.Token >= 0) ids.Add(chunk.Token);
            }
            Test.That(empty > 0, "chunks that wait for the rest of a character");
            Test.Equal(Test.SharedModel.Detokenize(ids.ToArray(), DetokenizeFlags.SkipSpecial), text.ToString());
        }
    }

    public static void AStringThatCReadsToItsNulHasNone()
    {
        var options = new Options();
        Test.Fails(ErrorCode.InvalidArgument, "U+0000", () => Model.Load("a\0b"));
        Test.Fails(ErrorCode.InvalidArgument, "U+0000", () => options.Set("bi\0ts", 4));
        Test.Fails(ErrorCode.InvalidArgument, "U+0000", () => options.Set("order", "act\0"));
        Test.Fails(ErrorCode.InvalidArgument, "U+0000", () => Test.SharedModel.GetInt("n_layer\0"));
        Test.Fails(ErrorCode.InvalidArgument, "U+0000", () => new Quantizer(Test.ModelPath, "o\0ut"));
    }

    public static void NullIsRefusedByName()
    {
        Test.Fails(ErrorCode.InvalidArgument, "path", () => Model.Load(null));
        Test.Fails(ErrorCode.InvalidArgument, "text", () => Test.SharedModel.Tokenize(null));
        Test.Fails(ErrorCode.InvalidArgument, "ids", () => Test.SharedModel.Detokenize(null));
    }
}
