// What a model and the library tell about themselves, and their errors.
using System;
using Gptq;

internal static class ModelTests
{
    public static void ItTellsNumbersTextsAndMetadata()
    {
        Model model = Test.SharedModel;
        Test.Equal("llama", model.GetString("family"));
        Test.Equal(0L, model.GetInt("quantized"));
        Test.Equal("", model.GetString("quantization"));
        Test.That(model.Metadata().Contains("\"n_layer\":" + model.GetInt("n_layer")) ||
                  model.Metadata().Contains("\"n_layer\": " + model.GetInt("n_layer")), "n_layer in " + model.Metadata());
        Test.Fails(ErrorCode.NotFound, "n_layer", () => model.GetInt("n_layr"));
        Test.Fails(ErrorCode.NotFound, "family", () => model.GetString("famly"));
    }

    public static void ItKnowsItsTokens()
    {
        Model model = Test.SharedModel;
        int? end = model.SpecialToken("eos");
        Test.Equal((int?)model.GetInt("eos_token_id"), end);
        Test.That(model.IsEndOfGeneration(end.Value), "an end at eos");
        Test.Equal(end, model.SpecialToken(model.TokenText(end.Value)));
        Test.Equal(null, model.SpecialToken("<|none such|>"));
        int word = model.Tokenize(Test.Prompt)[0];
        Test.That(!model.IsEndOfGeneration(word), "no end at a word");
        Test.Fails(ErrorCode.NotFound, "1000000", () => model.TokenText(1000000));
        Test.Fails(ErrorCode.InvalidArgument, "1000000", () => model.Detokenize(new[] { word, 1000000 }));
        Test.Equal("", model.Detokenize(new int[0]));
        Test.Equal("", model.Detokenize(new[] { end.Value }, DetokenizeFlags.SkipSpecial));
        string spelled = model.TokenText(end.Value);
        Test.Equal(1, model.Tokenize(spelled, TokenizeFlags.ParseSpecial).Length);
        Test.That(model.Tokenize(spelled).Length > 1, "plain text without the flag");
    }

    public static void AChatBecomesTextAndTokens()
    {
        Model model = Test.SharedModel;
        int id = model.SpecialToken("bos").Value;
        string bos = model.TokenText(id);
        string chat = "{\"messages\": [{\"role\": \"user\", \"content\": \"\u00e9 " + bos + "\"}], \"bos_token\": \"" + bos +
                      "\", \"chat_template\": \"{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}\"}";
        Test.Equal(bos + "[user] \u00e9 " + bos, model.ApplyChatTemplate(chat));
        int[] parsed = model.TokenizeChat(chat, TokenizeFlags.ParseSpecial), plain = model.TokenizeChat(chat);
        Test.Equal(id, parsed[0]);
        Test.Equal(id, parsed[parsed.Length - 1]);
        Test.Equal(id, plain[0]);
        Test.That(plain.Length > parsed.Length, "what a message spells out stays text");
        Test.Fails(ErrorCode.NotFound, "chat template", () => model.ApplyChatTemplate("[]"));
        Test.That(model.SamplingDefaults().StartsWith("{"), "an object");
    }

    public static void AMissingFolderIsNamed()
    {
        Test.Fails(ErrorCode.NotFound, "no/such/folder", () => Model.Load("no/such/folder"));
    }

    public static void WithoutWeightsItTokenizesOnly()
    {
        using (var model = Model.Load(Test.ModelPath, new Options { LoadWeights = false }))
        {
            Test.Equal(Test.Prompt, model.Detokenize(model.Tokenize(Test.Prompt)));
            Test.Throws<GptqException>(() => model.CreateSession());
        }
    }

    public static void TheLibraryTellsItsVersion()
    {
        var version = new Version(Library.Version);
        Test.Equal(version.Major * 1000000 + version.Minor * 1000 + version.Build, Library.VersionNumber);
        Test.Equal(new Version(version.Major, version.Minor, version.Build, 0), typeof(Library).Assembly.GetName().Version);
        Test.That(Library.BuildInfo.Contains(Library.Version), "the version in " + Library.BuildInfo);
        Test.That(Library.HasFeature("quantize") && !Library.HasFeature("none"), "quantize and not none");
        Library.CheckDevice("cpu");
        Test.Fails(ErrorCode.InvalidArgument, "abacus", () => Library.CheckDevice("abacus"));
    }
}
