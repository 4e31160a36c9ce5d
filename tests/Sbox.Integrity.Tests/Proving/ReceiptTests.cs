using System.Text.Json;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.Tpm;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot.Tests;

namespace Sbox.Integrity.Tests;

/// <summary>Receipts: openssl and tpm2_checkquote believe them, and nothing in them can be changed.</summary>
public sealed class ReceiptTests : IDisposable
{
    private const string Nonce = "00ff17";
    private static readonly DateTimeOffset Time = new(2026, 11, 25, 18, 0, 0, TimeSpan.Zero);
    private static readonly ProofReport Report = new(
        new DeploymentName("debian", Checksum.Parse(new string('a', 64)), 0), "1.0",
        [new Fact("firmware", Verdict.Ok, "Secure Boot is on; \"ü\"\t\u0001").With(("secure-boot", "1")), new Fact("etc", Verdict.Ok, "1 changed") { List = ["M    fstab"] }]);

    private readonly TempDir temp = new();
    private readonly Ed25519Key key = Ed25519Key.Generate(), other = Ed25519Key.Generate();

    public void Dispose() => temp.Dispose();

    [Fact]
    public void A_receipt_that_answers_the_nonce_of_the_machine_that_is_known_says_what_the_machine_found()
    {
        ReceiptReading reading = Receipt.Read(Made(), key.Public, Nonce.ToUpperInvariant());
        Assert.Equal([Verdict.Ok, Verdict.Ok, Verdict.Ok, Verdict.Unchecked], reading.Checks.Select(static check => check.Verdict));
        Assert.Contains("no TPM signed it: no TPM here", reading.Checks[3].Says, StringComparison.Ordinal);
        Assert.Equal((Time, Report.Deployment, Report.Version, Verdict.Ok), (reading.Time, reading.Report.Deployment, reading.Report.Version, reading.Report.Verdict));
        Assert.Equal(Report.Facts.Select(static fact => (fact.Name, fact.Says)), reading.Report.Facts.Select(static fact => (fact.Name, fact.Says)));
        Assert.Equal("1", reading.Report.Facts[0].Evidence["secure-boot"]);
        Assert.Equal(["M    fstab"], reading.Report.Facts[1].List);
    }

    [Fact]
    public void Another_machines_an_old_one_and_one_that_nobody_asked_for_are_told_apart()
    {
        Assert.Equal(Verdict.Wrong, Receipt.Read(Made(), other.Public, Nonce).Checks[1].Verdict);
        Assert.Equal(Verdict.Wrong, Receipt.Read(Made(), key.Public, "00ff18").Checks[2].Verdict);
        ReceiptReading alone = Receipt.Read(Made(), null, null);
        Assert.Equal((Verdict.Unchecked, Verdict.Unchecked), (alone.Checks[1].Verdict, alone.Checks[2].Verdict));
    }

    [Fact]
    public void One_character_changed_anywhere_in_what_is_signed_is_seen()
    {
        string text = Made();
        int from = text.IndexOf("\"deployment\"", StringComparison.Ordinal), to = text.IndexOf(",\"signature\"", StringComparison.Ordinal);
        for (int at = from; at < to; at++)
        {
            string changed = text[..at] + (text[at] == 'x' ? 'y' : 'x') + text[(at + 1)..];
            try
            {
                Assert.Equal(Verdict.Wrong, Receipt.Read(changed, key.Public, Nonce).Checks[0].Verdict);
            }
            catch (MalformedException refused)
            {
                Assert.NotEmpty(refused.Message);
            }
        }
    }

    [Fact]
    public void It_may_be_written_anew_by_any_program_that_keeps_the_values()
    {
        using JsonDocument document = JsonDocument.Parse(Made());
        string pretty = JsonSerializer.Serialize(document, new JsonSerializerOptions { WriteIndented = true });
        Assert.NotEqual(Made(), pretty);
        Assert.Equal(Verdict.Ok, Receipt.Read(pretty, key.Public, Nonce).Checks[0].Verdict);
    }

    [Theory]
    [InlineData("")]
    [InlineData("{}")]
    [InlineData("[1]")]
    [InlineData("{\"receipt\":{\"version\":2}}")]
    [InlineData("{\"receipt\":{\"version\":1,\"machine\":\"!!\"}}")]
    public void What_is_no_receipt_is_refused(string text) => Assert.Throws<MalformedException>(() => Receipt.Read(text, null, null));

    [Fact]
    public void Openssl_believes_the_signature_by_the_machines_key_file()
    {
        string file = temp.Of("deep/machine.key");
        using Ed25519Key machine = MachineKey.Open(file);
        Assert.Equal("600\n", Judge.OnPath("stat").Run("-c", "%a", file));
        using (Ed25519Key again = MachineKey.Open(file))
            Assert.Equal($"{machine.Public}", $"{again.Public}");
        using JsonDocument document = JsonDocument.Parse(Receipt.Make(Report, Nonce, machine, Time, static _ => (null, "no TPM here")));
        File.WriteAllBytes(temp.Of("said"), CanonicalJson.Of(document.RootElement.GetProperty("receipt")));
        File.WriteAllBytes(temp.Of("signature"), document.RootElement.GetProperty("signature").GetBytesFromBase64());
        Assert.Contains("Verified Successfully", Judge.OnPath("openssl").Run("pkeyutl", "-verify", "-inkey", file, "-rawin", "-in", temp.Of("said"), "-sigfile", temp.Of("signature")), StringComparison.Ordinal);
        File.WriteAllText(temp.Of("public"), Ed25519Pem.Public(Convert.FromBase64String($"{machine.Public}")));
        Assert.Equal(File.ReadAllText(temp.Of("public")), Judge.OnPath("openssl").Run("pkey", "-in", file, "-pubout"));
    }

    [Fact]
    public void A_TPM_signs_its_registers_and_the_receipt_and_tpm2_checkquote_believes_it()
    {
        using var tpm = new SoftwareTpm(temp.Of("tpm"));
        string text = Receipt.Make(Report, Nonce, key, Time, digest => TpmQuoter.Ask(digest, tpm.Tcti));
        Fact quote = Receipt.Read(text, key.Public, Nonce).Checks[3];
        Assert.True(quote.Verdict == Verdict.Ok, quote.Says);
        Assert.Equal(new string('0', 64), quote.Evidence["pcr-11"]);
        Assert.NotEqual(quote.Evidence["pcr-00"], quote.Evidence["pcr-07"]);

        using JsonDocument document = JsonDocument.Parse(text);
        JsonElement made = document.RootElement.GetProperty("receipt").GetProperty("quote");
        File.WriteAllBytes(temp.Of("attested"), made.GetProperty("attested").GetBytesFromBase64());
        File.WriteAllBytes(temp.Of("signature"), made.GetProperty("signature").GetBytesFromBase64());
        File.WriteAllText(temp.Of("key.pem"), made.GetProperty("key").GetString());
        string nonce = Convert.ToHexStringLower(TpmQuote.Parse(File.ReadAllBytes(temp.Of("attested"))).ExtraData);
        Judge.OnPath("tpm2_checkquote").Run("-u", temp.Of("key.pem"), "-m", temp.Of("attested"), "-s", temp.Of("signature"), "-g", "sha256", "-q", nonce);

        // The same TPM has the same key tomorrow, without anything being kept; and its quote fits no other receipt.
        tpm.Flush();
        string later = Receipt.Make(Report, "aa", key, Time, digest => TpmQuoter.Ask(digest, tpm.Tcti));
        using JsonDocument second = JsonDocument.Parse(later);
        Assert.Equal(made.GetProperty("key").GetString(), second.RootElement.GetProperty("receipt").GetProperty("quote").GetProperty("key").GetString());
        string mixed = later.Replace(second.RootElement.GetProperty("receipt").GetProperty("quote").GetRawText(), made.GetRawText(), StringComparison.Ordinal);
        Assert.Equal("the TPM's quote belongs to another receipt", Receipt.Read(mixed, key.Public, "aa").Checks[3].Says);
        string lied = text.Replace($"\"11\":\"{new string('0', 64)}\"", $"\"11\":\"{new string('1', 64)}\"", StringComparison.Ordinal);
        Assert.Equal("the PCRs are not those that the TPM signed", Receipt.Read(lied, key.Public, Nonce).Checks[3].Says);
    }

    [Fact]
    public void Without_a_TPM_or_its_programs_the_reason_is_told()
    {
        (QuoteEvidence? quote, string? why) = TpmQuoter.Ask(Checksum.Of("x"u8), "swtpm:port=1");
        Assert.Null(quote);
        Assert.Contains("tpm2_createprimary ended with", why, StringComparison.Ordinal);
    }

    [Fact]
    public void Bytes_that_are_no_quote_are_refused_wherever_they_end()
    {
        byte[] good = [0xFF, 0x54, 0x43, 0x47, 0x80, 0x18, 0, 1, 9, 0, 2, 1, 2, .. new byte[17], .. new byte[8], 0, 0, 0, 1, 0, 0x0B, 3, 0x81, 0x18, 0, 0, 32, .. new byte[32]];
        TpmQuote quote = TpmQuote.Parse(good);
        Assert.Equal([0, 7, 11, 12], quote.Pcrs);
        Assert.Equal([1, 2], quote.ExtraData);
        for (int length = 0; length < good.Length; length++)
            Assert.Throws<MalformedException>(() => TpmQuote.Parse(good.AsSpan(0, length)));
        Assert.Throws<MalformedException>(() => TpmQuote.Parse([.. good, 0]));
        for (int at = 0; at < 6; at++)
            Assert.Throws<MalformedException>(() => TpmQuote.Parse([.. good[..at], (byte)(good[at] ^ 1), .. good[(at + 1)..]]));
    }

    private string Made() => Receipt.Make(Report, Nonce, key, Time, static _ => (null, "no TPM here"));
}
