using System.Buffers;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Sbox.Codecs;
using Sbox.Codecs.Tpm;
using Sbox.Store;

namespace Sbox.Integrity;

/// <summary>What a receipt says besides its facts.</summary>
/// <param name="Time">When it was made.</param>
/// <param name="Nonce">What whoever asked for it wanted in it; null for nothing.</param>
/// <param name="Machine">The machine's key.</param>
/// <param name="Checks">Whether the receipt itself can be believed: signature, machine, nonce, quote.</param>
/// <param name="Report">What it says of the machine.</param>
public sealed record ReceiptReading(DateTimeOffset Time, string? Nonce, Ed25519PublicKey Machine, IReadOnlyList<Fact> Checks, ProofReport Report)
{
    /// <summary>What it comes to: the worst of what it says, and of how far it can be believed.</summary>
    public Verdict Verdict => Checks.Select(static check => check.Verdict).Append(Report.Verdict).Worst();
}

/// <summary>A proof that can be carried elsewhere: canonical JSON, signed by the machine's key and, where there is a TPM, by the TPM.</summary>
/// <remarks>docs/formats/receipt.md.</remarks>
public static class Receipt
{
    private const int Version = 1;
    private const string Format = "receipt";

    /// <summary>Makes one.</summary>
    /// <param name="report">What was found.</param>
    /// <param name="nonce">What its reader asked to find in it, in hexadecimal; null for nothing.</param>
    /// <param name="key">The machine's key.</param>
    /// <param name="time">Now.</param>
    /// <param name="quote">Asks a TPM to sign its PCRs together with a digest of the receipt.</param>
    /// <returns>One line of JSON.</returns>
    public static string Make(ProofReport report, string? nonce, Ed25519Key key, DateTimeOffset time, Func<Checksum, (QuoteEvidence? Quote, string? Why)> quote)
    {
        byte[] core = Json(json => Write(json, report, nonce, key.Public, time));
        (QuoteEvidence? evidence, string? why) = quote(Checksum.Of(Canonical(core)));
        byte[] whole = Json(json =>
        {
            using JsonDocument document = JsonDocument.Parse(core);
            foreach (JsonProperty property in document.RootElement.EnumerateObject())
                property.WriteTo(json);
            json.WriteStartObject("quote");
            Write(json, evidence, why);
            json.WriteEndObject();
        });
        byte[] canonical = Canonical(whole);
        return $$"""{"receipt":{{System.Text.Encoding.UTF8.GetString(canonical)}},"signature":"{{Convert.ToBase64String(key.Sign(canonical))}}"}""" + "\n";
    }

    /// <summary>Reads one, wherever, and says how far it can be believed.</summary>
    /// <param name="text">The file.</param>
    /// <param name="machine">The key that the machine is known by; null where its reader knows none.</param>
    /// <param name="nonce">What its reader asked to find in it; null for nothing.</param>
    /// <exception cref="MalformedException">It is no receipt.</exception>
    public static ReceiptReading Read(string text, Ed25519PublicKey? machine, string? nonce)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 32 });
            JsonElement receipt = document.RootElement.GetProperty("receipt");
            if (receipt.GetProperty("version").GetInt32() is var version && version != Version)
                throw new MalformedException(Format, "version", $"{Version}", $"{version}");
            var own = new Ed25519PublicKey(receipt.GetProperty("machine").GetBytesFromBase64());
            string? said = receipt.GetProperty("nonce").GetString();
            bool signed = own.Verify(CanonicalJson.Of(receipt), document.RootElement.GetProperty("signature").GetBytesFromBase64());
            return new ReceiptReading(
                receipt.GetProperty("time").GetDateTimeOffset(), said, own,
                [Signature(signed), Machine(own, machine), Nonce(said, nonce), Quote(receipt)], Report(receipt));
        }
        catch (Exception broken) when (broken is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new MalformedException(Format, "JSON", "a receipt of sbox prove", broken.Message);
        }
    }

    private static Fact Signature(bool signed) => signed
        ? new Fact("signature", Verdict.Ok, "the machine's key signed these very words")
        : new Fact("signature", Verdict.Wrong, "the machine's key did not sign this: it was changed");

    private static Fact Machine(Ed25519PublicKey own, Ed25519PublicKey? known) => (known is null, $"{known}" == $"{own}") switch
    {
        (true, _) => new Fact("machine", Verdict.Unchecked, $"nobody says whose key {own} is (--key=KEY)"),
        (_, true) => new Fact("machine", Verdict.Ok, "it is the key that was named"),
        _ => new Fact("machine", Verdict.Wrong, $"another machine made it: its key is {own}"),
    };

    private static Fact Nonce(string? said, string? asked) => (asked is null, string.Equals(said, asked, StringComparison.OrdinalIgnoreCase)) switch
    {
        (true, _) => new Fact("nonce", Verdict.Unchecked, $"nothing says that it is not an old one: no nonce was asked for{(said is null ? "" : ", though it has one")} (--nonce=HEX)"),
        (_, true) => new Fact("nonce", Verdict.Ok, "it answers the nonce that was asked for"),
        _ => new Fact("nonce", Verdict.Wrong, said is null ? "it has no nonce, and one was asked for" : $"it answers another nonce: {said}"),
    };

    private static Fact Quote(JsonElement receipt)
    {
        JsonElement quote = receipt.GetProperty("quote");
        if (!quote.TryGetProperty("attested", out JsonElement attested))
            return new Fact("quote", Verdict.Unchecked, $"no TPM signed it: {quote.GetProperty("unchecked").GetString()}");
        byte[] bytes = attested.GetBytesFromBase64();
        string key = quote.GetProperty("key").GetString()!;
        if (!TpmQuote.IsSignedBy(bytes, quote.GetProperty("signature").GetBytesFromBase64(), key))
            return new Fact("quote", Verdict.Wrong, "the TPM's key did not sign its quote");
        TpmQuote read;
        try
        {
            read = TpmQuote.Parse(bytes);
        }
        catch (MalformedException broken)
        {
            return new Fact("quote", Verdict.Wrong, broken.Message);
        }

        Dictionary<string, string> pcrs = quote.GetProperty("pcrs").EnumerateObject().ToDictionary(static each => each.Name, static each => each.Value.GetString()!);
        string[] values = [.. read.Pcrs.Select(pcr => pcrs.GetValueOrDefault(pcr.ToString(CultureInfo.InvariantCulture)) ?? "")];
        string? wrong = !read.ExtraData.AsSpan().SequenceEqual(Checksum.Of(CanonicalJson.Of(receipt, without: "quote")).ToArray()) ? "the TPM's quote belongs to another receipt"
            : pcrs.Count != read.Pcrs.Count || Checksum.Of(Convert.FromHexString(string.Concat(values))) != read.Digest ? "the PCRs are not those that the TPM signed"
            : null;
        string fingerprint = Checksum.Of(System.Text.Encoding.ASCII.GetBytes(key)).ToString();
        Fact fact = wrong is not null
            ? new Fact("quote", Verdict.Wrong, wrong)
            : new Fact("quote", Verdict.Ok, $"the TPM whose key has the fingerprint {fingerprint} signed it, with PCRs {string.Join(", ", read.Pcrs)}; whether that key is a real TPM's is for its reader to know");
        return fact with { Evidence = new SortedDictionary<string, string>(pcrs.ToDictionary(static each => $"pcr-{each.Key.PadLeft(2, '0')}", static each => each.Value), StringComparer.Ordinal) };
    }

    private static ProofReport Report(JsonElement receipt)
    {
        string? deployment = receipt.GetProperty("deployment").GetString();
        return new ProofReport(
            deployment is not null && Boot.DeploymentName.TryParse(deployment, out Boot.DeploymentName name) ? name : null, receipt.GetProperty("release").GetString(),
            [.. receipt.GetProperty("facts").EnumerateArray().Select(static fact => new Fact(
                fact.GetProperty("name").GetString()!, VerdictOf(fact.GetProperty("verdict").GetString()!), fact.GetProperty("says").GetString()!)
            {
                Evidence = new SortedDictionary<string, string>(fact.GetProperty("evidence").EnumerateObject().ToDictionary(static each => each.Name, static each => each.Value.GetString()!), StringComparer.Ordinal),
                List = [.. fact.GetProperty("list").EnumerateArray().Select(static line => line.GetString()!)],
            })]);
    }

    private static Verdict VerdictOf(string word) => word switch
    {
        "ok" => Verdict.Ok,
        "wrong" => Verdict.Wrong,
        "unchecked" => Verdict.Unchecked,
        _ => throw new MalformedException(Format, "verdict", "ok, wrong or unchecked", $"'{word}'"),
    };

    private static void Write(Utf8JsonWriter json, ProofReport report, string? nonce, Ed25519PublicKey machine, DateTimeOffset time)
    {
        json.WriteNumber("version", Version);
        json.WriteString("time", DateTimeOffset.FromUnixTimeSeconds(time.ToUnixTimeSeconds()).UtcDateTime);
        json.WriteString("nonce", nonce?.ToLowerInvariant());
        json.WriteString("machine", $"{machine}");
        json.WriteString("deployment", report.Deployment?.ToString());
        json.WriteString("release", report.Version);
        json.WriteString("verdict", report.Verdict.Word());
        WriteFacts(json, "facts", report.Facts);
    }

    /// <summary>Facts as a list of objects.</summary>
    public static void WriteFacts(Utf8JsonWriter json, string name, IReadOnlyList<Fact> facts)
    {
        json.WriteStartArray(name);
        foreach (Fact fact in facts)
        {
            json.WriteStartObject();
            json.WriteString("name", fact.Name);
            json.WriteString("verdict", fact.Verdict.Word());
            json.WriteString("says", fact.Says);
            json.WriteStartObject("evidence");
            foreach ((string key, string value) in fact.Evidence)
                json.WriteString(key, value);
            json.WriteEndObject();
            json.WriteStartArray("list");
            foreach (string line in fact.List)
                json.WriteStringValue(line);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void Write(Utf8JsonWriter json, QuoteEvidence? quote, string? why)
    {
        if (quote is null)
        {
            json.WriteString("unchecked", why ?? "nobody asked for it");
            return;
        }

        json.WriteString("attested", Convert.ToBase64String(quote.Attested));
        json.WriteString("signature", Convert.ToBase64String(quote.Signature));
        json.WriteString("key", quote.Key);
        json.WriteStartObject("pcrs");
        foreach ((int pcr, string value) in quote.Pcrs)
            json.WriteString(pcr.ToString(CultureInfo.InvariantCulture), value);
        json.WriteEndObject();
    }

    private static byte[] Json(Action<Utf8JsonWriter> properties)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            properties(writer);
            writer.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }

    private static byte[] Canonical(byte[] json)
    {
        using JsonDocument document = JsonDocument.Parse(json);
        return CanonicalJson.Of(document.RootElement);
    }
}
