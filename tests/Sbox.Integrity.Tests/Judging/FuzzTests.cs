using System.Text;
using CsCheck;
using Sbox.Codecs.Bpf;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Integrity.Tests;

/// <summary>Ten thousand of each: whatever comes, the answer is a value or the one typed error, never a crash.</summary>
public sealed class FuzzTests
{
    private const int Times = 10_000;

    private static readonly string Shipped = File.ReadAllText(SourceTree.Of("packaging", "sentinel", "sentinel.d", "10-box.toml"));

    private static readonly Gen<string> Word = Gen.OneOf<string>(
        "[[protect]]", "[[storage]]", "[[allow]]", "[severity]", "[reaction.critical]", "[set-user-id]", "[test]", "path", "storage", "mount", "writable", "finding",
        "covered", "do", "hook", "by", "type", "root", "only-own-namespace", "may-loosen", "=", "=", "=", "\n", "\n", "\n", "true", "false", "[", "]", "\"/usr\"", "\"/\"",
        "\"covered\"", "\"critical\"", "[\"journal\"]", "[\"undo\", \"kill\"]", "\"\"\"", "'", "1e9", "2026-01-01", "#", ".", ",", "{", "}", "\0", "\u00e4", "\ud83d");

    private static readonly Gen<string> Policies = Gen.OneOf<string>(
        Word.Array[0, 30].Select(static words => string.Join(' ', words)),
        Gen.Select(Gen.Int[0, Shipped.Length - 1], Gen.Int[0, 20], Gen.Char.AlphaNumeric.Array[0, 6], static (at, cut, put) =>
            Shipped[..at] + new string(put) + Shipped[Math.Min(Shipped.Length, at + cut)..]));

    private static readonly Gen<string> Field = Gen.OneOf<string>(
        Gen.Int[0, 99].Select(static number => $"{number}"), Gen.OneOf<string>("/", "/usr", "/usr/bin", "/sysroot", "254:2", "0:27", "-", "rw", "ro", "ext4", "overlay", "sysext", "\\040", "\\1", "\\999", ""),
        Gen.String[0, 5]);

    private static readonly Gen<string> Lines = Gen.OneOf<string>(
        Field.Array[0, 14].Select(static fields => string.Join(' ', fields)),
        Gen.Select(Gen.Int[1, 60], Gen.Int[1, 60], Gen.OneOf<string>("254:2", "254:1", "0:27", "0:50"), Gen.OneOf<string>("/", "/usr", "/boot", "/ostree/repo"),
            Gen.OneOf<string>("/", "/usr", "/usr/lib", "/boot", "/sysroot", "/mnt", "/run"), Gen.OneOf<string>("rw", "ro"), Gen.OneOf<string>("tmpfs", "ext4", "overlay", "vfat"),
            static (id, parent, device, root, place, options, type) => $"{id} {parent} {device} {root} {place} {options} - {type} x {options}"));

    [Fact]
    public void Any_policy_is_read_or_refused_with_file_and_line() => Policies.Sample(static text =>
    {
        try
        {
            PolicyReader.Read(new SentinelPolicy(), "x.toml", text, PolicyOrigin.Tree);
        }
        catch (PolicyException mistake)
        {
            Assert.True(mistake.Line >= 1 && mistake.Expected.Length > 0 && mistake.Found.Length > 0, mistake.Message);
        }
    }, iter: Times);

    [Fact]
    public void No_policy_of_the_owner_makes_the_sentinel_overlook_what_the_tree_wants_found() => Gen.Select(Policies, Lines.Array[0, 6]).Sample(static (text, lines) =>
    {
        SentinelPolicy both;
        try
        {
            both = PolicyReader.Read(BoxTable.Policy, "x.toml", text, PolicyOrigin.Owner);
        }
        catch (PolicyException)
        {
            return; // refused whole: the sealed policy stands
        }

        IReadOnlyList<MountEntry> mounts = [.. BoxTable.Mounts(), .. lines.Select(TryParse).OfType<MountEntry>()];
        SystemFacts facts = SystemFacts.Of(both, mounts, 1, static _ => new HashSet<string> { "254:0", "254:1", "254:2" });
        var view = new NamespaceView(1, mounts, false);
        var found = MountJudge.Violations(both, facts, view).Where(finding => !MountJudge.IsAllowed(both, facts, finding, 1, null)).Select(static finding => (finding.Kind, finding.Path)).ToHashSet();
        foreach (Finding finding in MountJudge.Violations(BoxTable.Policy, SystemFacts.Of(BoxTable.Policy, mounts, 1, static _ => new HashSet<string> { "254:0", "254:1", "254:2" }), view))
        {
            if (!MountJudge.IsAllowed(BoxTable.Policy, BoxTable.Facts, finding, 1, null) && finding.Kind != FindingKind.Test)
                Assert.True(found.Contains((finding.Kind, finding.Path)) && both.SeverityOf(finding.Kind) >= BoxTable.Policy.SeverityOf(finding.Kind), $"{finding} is overlooked");
        }
    }, iter: Times);

    [Fact]
    public void Any_line_of_mountinfo_is_read_or_refused_and_any_table_is_judged() => Lines.Array[0, 12].Sample(static lines =>
    {
        MountEntry[] mounts = [.. lines.Select(TryParse).OfType<MountEntry>()];
        MountJudge.Violations(BoxTable.Policy, BoxTable.Facts, new NamespaceView(7, mounts, false));
        MountTree.Of(mounts).Carrying("/usr/bin/x");
    }, iter: Times);

    [Fact]
    public void Any_record_from_the_ring_is_read_or_left() => Gen.Byte.Array[0, EyeRecord.Size + 8].Sample(static bytes =>
    {
        if (bytes.Length >= EyeRecord.Size)
            bytes[0] %= 24;
        KernelEvent.Read(bytes);
    }, iter: Times);

    [Fact]
    public void Any_type_description_is_read_or_refused() => Gen.Byte.Array[0, 200].Sample(static bytes =>
    {
        byte[] header = [0x9F, 0xEB, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, (byte)(bytes.Length / 2), 0, 0, 0, (byte)(bytes.Length / 2), 0, 0, 0, (byte)(bytes.Length - (bytes.Length / 2)), 0, 0, 0];
        try
        {
            BtfTypes types = BtfTypes.Parse([.. header, .. bytes]);
            types.OffsetOf(types.Find(BtfKind.Structure, "a"u8), "b"u8);
            types.OffsetOf(types.Count, Encoding.ASCII.GetBytes("x"));
        }
        catch (MalformedException)
        {
            return; // the one error that it may have
        }
    }, iter: Times);

    private static MountEntry? TryParse(string line)
    {
        try
        {
            return MountEntry.Parse(line);
        }
        catch (FormatException)
        {
            return null;
        }
    }
}
