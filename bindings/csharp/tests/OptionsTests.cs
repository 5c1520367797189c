// Options: values, JSON, descriptions, and what is refused.
using System;
using System.Linq;
using System.Reflection;
using Gptq;

internal static class OptionsTests
{
    public static void JsonGoesRound()
    {
        using (var options = new Options { Bits = 3, Temperature = 0.5, Order = "act", Sym = false })
        using (var copy = Options.FromJson(options.ToJson()))
        {
            string json = copy.ToJson().Replace(" ", "");
            Test.Equal(options.ToJson(), copy.ToJson());
            foreach (string part in new[] { "\"bits\":3", "\"temperature\":0.5", "\"order\":\"act\"", "\"sym\":0" })
                Test.That(json.Contains(part), part + " in " + json);
            copy.Reset();
            Test.Equal("{}", copy.ToJson());
        }
    }

    public static void BadKeysAndValuesAreRefused()
    {
        var options = new Options { Bits = 8 };
        string before = options.ToJson();
        Test.Fails(ErrorCode.InvalidArgument, "temperature", () => options.Set("temperatur", 0.5));
        Test.Fails(ErrorCode.InvalidArgument, "bits", () => options.Bits = 5000);
        Test.Fails(ErrorCode.InvalidArgument, "bits", () => options.Set("bits", "four"));
        Test.Fails(ErrorCode.InvalidArgument, "order", () => options.Order = "sideways");
        Test.Fails(ErrorCode.InvalidArgument, "", () => options.SetJson("{\"bits\": 4, \"nothing\": 1}"));
        Test.Fails(ErrorCode.InvalidArgument, "", () => options.SetJson("[1]"));
        Test.Fails(ErrorCode.InvalidArgument, "", () => options.SetJson(null));
        Test.Equal(before, options.ToJson());
    }

    public static void AListOfTextsIsSetAsAWhole()
    {
        using (var options = new Options { Stop = new[] { "\n\"", "\u00e9\u2028" } })
        using (var copy = Options.FromJson(options.ToJson()))
        {
            string before = options.ToJson();
            Test.Equal(before, copy.ToJson());
            Test.Fails(ErrorCode.InvalidArgument, "stop", () => options.Stop = new[] { "a", "" });
            Test.Fails(ErrorCode.InvalidArgument, "bits", () => options.SetList("bits", new[] { "a" }));
            Test.Fails(ErrorCode.InvalidArgument, "device", () => options.SetList("device", new string[0]));
            Test.Fails(ErrorCode.InvalidArgument, "", () => options.Stop = null);
            Test.Equal(before, options.ToJson());
            options.Stop = new string[0];
            Test.Equal("{\"stop\":\"[]\"}", options.ToJson());
        }
    }

    public static void EveryKeyIsDescribedAndHasAProperty()
    {
        string[] keys = Options.Describe();
        Test.That(keys.Length > 20 && keys.All(key => key.StartsWith("{") && key.Contains("\"help\"")), "JSON objects");
        int properties = typeof(Options).GetProperties(BindingFlags.Public | BindingFlags.Instance)
                                        .Count(property => property.CanWrite && !property.CanRead);
        Test.Equal(keys.Length, properties);
    }
}
