using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Sbox.Codecs.SecureBoot;
using Sbox.Codecs.Tests.Composefs;
using Sbox.Codecs.Uki;
using Sbox.Judges;

namespace Sbox.Codecs.Tests.Uki;

/// <summary>What a TPM will have measured, and what is signed of it, as systemd-measure calculates and signs it.</summary>
public sealed class PcrPolicyTests : IDisposable
{
    private const string OsRelease = "ID=debian\nPRETTY_NAME=\"Debian\"\n", CommandLine = "root=LABEL=sbox-root quiet";
    private static readonly byte[] Kernel = Ukify.Stub, Initrd = Encoding.ASCII.GetBytes("an initrd");
    private readonly Scratch scratch = new();
    private readonly RSA key = RSA.Create(2048);

    private static readonly UkiProfile[] Profiles = [new("ID=main\nTITLE=normal\n", null), new("ID=ghost\n", $"{CommandLine} sbox.ghost")];

    private static Judge Measure => Judge.Unpacked("usr/lib/systemd/systemd-measure");

    public void Dispose()
    {
        key.Dispose();
        scratch.Dispose();
    }

    [Theory, InlineData(0), InlineData(1)]
    public void The_register_is_what_systemd_measure_calculates_for_each_entry(int entry)
    {
        IReadOnlyList<Checksum> entries = BootMeasurement.OfEntries(UnifiedKernelImage.Read(Uki()));
        Assert.Equal(2, entries.Count);
        foreach (string[] phases in (string[][])[[], ["enter-initrd"], ["enter-initrd", "leave-initrd"], ["sysinit", "ready"]])
        {
            string calculated = Measure.Run(["calculate", "--bank=sha256", "--json=short", $"--phase={string.Join(':', phases)}", .. Sections(entry)]);
            string hash = JsonDocument.Parse(calculated).RootElement.GetProperty("sha256")[0].GetProperty("hash").GetString()!;
            Assert.Equal(hash, phases.Aggregate(entries[entry], BootMeasurement.After).ToString());
        }
    }

    [Fact]
    public void The_signatures_are_byte_for_byte_those_of_systemd_measure()
    {
        JsonElement ours = JsonDocument.Parse(PcrPolicy.Sign(Uki(), key)).RootElement.GetProperty("sha256");
        Assert.Equal(2 * PcrPolicy.Moments.Count, ours.GetArrayLength());
        string pem = scratch.File("key.pem", Encoding.ASCII.GetBytes(key.ExportPkcs8PrivateKeyPem()));
        for (int entry = 0; entry < 2; entry++)
        {
            string signed = Measure.Run([
                "sign", "--bank=sha256", "--json=short", $"--private-key={pem}", .. PcrPolicy.Moments.Select(static moment => $"--phase={string.Join(':', moment)}"), .. Sections(entry)]);
            string[] theirs = [.. JsonDocument.Parse(signed).RootElement.GetProperty("sha256").EnumerateArray().Select(static each => each.GetRawText()).Order(StringComparer.Ordinal)];
            string[] mine = [.. ours.EnumerateArray().Skip(entry * PcrPolicy.Moments.Count).Take(PcrPolicy.Moments.Count).Select(static each => each.GetRawText()).Order(StringComparer.Ordinal)];
            Assert.Equal(theirs, mine);
        }
    }

    [Fact]
    public void The_signatures_are_no_part_of_what_they_sign() => Assert.Equal(
        BootMeasurement.OfEntries(UnifiedKernelImage.Read(Uki())), BootMeasurement.OfEntries(UnifiedKernelImage.Read(Uki(new UkiSection(".pcrsig", "{}"u8.ToArray())))));

    [Fact]
    public void An_image_without_profiles_has_one_entry() => Assert.Single(BootMeasurement.OfEntries([new UkiSection(".linux", Kernel), new UkiSection(".cmdline", "quiet"u8.ToArray())]));

    private byte[] Uki(params UkiSection[] others)
    {
        using var output = new MemoryStream();
        UnifiedKernelImage.Build(Ukify.Stub, new UkiParts(Kernel, CommandLine, Encoding.UTF8.GetBytes(OsRelease))
        {
            KernelRelease = "6.12.1",
            Initrds = [new MemoryStream(Initrd)],
            PcrPublicKey = Encoding.ASCII.GetBytes(PcrPolicy.PublicPem(key)),
            Profiles = Profiles,
            Others = others,
        }, output);
        return output.ToArray();
    }

    private string[] Sections(int entry)
    {
        byte[] sbat = UnifiedKernelImage.Read(Uki()).Single(static section => section.Name == ".sbat").Content.ToArray();
        (string, byte[])[] sections =
        [
            ("linux", Kernel), ("osrel", Encoding.UTF8.GetBytes(OsRelease)), ("cmdline", Encoding.UTF8.GetBytes(Profiles[entry].CommandLine ?? CommandLine)), ("initrd", Initrd),
            ("uname", "6.12.1"u8.ToArray()), ("sbat", sbat), ("pcrpkey", Encoding.ASCII.GetBytes(PcrPolicy.PublicPem(key))), ("profile", Encoding.UTF8.GetBytes(Profiles[entry].Text)),
        ];
        return [.. sections.Select(section => $"--{section.Item1}={scratch.File(section.Item1, section.Item2)}")];
    }
}
