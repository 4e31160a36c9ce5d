using System.Text;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.Cpio;
using Sbox.Codecs.Uki;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>A menu entry of a UKI.</summary>
/// <param name="Id">Its name for programs.</param>
/// <param name="Title">What the menu shows behind the system's name.</param>
/// <param name="MoreArguments">Kernel arguments behind those of the image; empty for none.</param>
public sealed record SealProfile(string Id, string Title, string MoreArguments);

/// <summary>The TPM's part of a UKI.</summary>
/// <param name="PublicKey">The text of <c>.pcrpkey</c>: PEM.</param>
/// <param name="Signatures">The text of <c>.pcrsig</c>: JSON; empty while they are still to be made.</param>
public sealed record PcrSignatures(string PublicKey, string Signatures);

/// <summary>
/// All that makes a commit's boot files the ones that their owner signed: what goes into the UKI beside the tree's own files, and
/// signatures of the UKI and of the boot loader. The files themselves are assembled from the tree, to the same bytes everywhere.
/// </summary>
/// <param name="Composefs">The fs-verity digest of the tree's composefs image.</param>
/// <param name="CommandLine">The kernel's command line; names commit and digest, and nothing of one machine.</param>
/// <param name="OsRelease">What the boot menu reads.</param>
/// <param name="Profiles">Menu entries, the default one first.</param>
/// <param name="UkiSignatures">Authenticode signatures of the UKI.</param>
/// <param name="LoaderSignatures">Authenticode signatures of the tree's boot loader.</param>
/// <remarks>docs/formats/seal.md. It lies in the commit's detached metadata and needs no signature itself: what is in it is in the signed UKI.</remarks>
public sealed record CommitSeal(
    Checksum Composefs, string CommandLine, string OsRelease, IReadOnlyList<SealProfile> Profiles,
    IReadOnlyList<byte[]> UkiSignatures, IReadOnlyList<byte[]> LoaderSignatures)
{
    /// <summary>Where it is in detached metadata.</summary>
    public const string Key = "sbox.seal";

    /// <summary>What a TPM needs to know that its state is one that the owner signed; null for none.</summary>
    public PcrSignatures? Pcr { get; init; }

    // What is in the UKI belongs to the version: a box that does not know of a section would assemble another image, and say that its signature is wrong.
    private const uint First = 1, WithPcr = 2;
    private const string Format = "seal";

    /// <summary>By which sbox-root knows a command line that nobody signed.</summary>
    internal byte[] MoreInitrd => CpioWriter.Of(
        SignedCommandLine.Path, Encoding.UTF8.GetBytes(SignedCommandLine.Text(UkiProfiles.Select(profile => profile.CommandLine ?? CommandLine).Prepend(CommandLine).Distinct())));

    internal IReadOnlyList<UkiProfile> UkiProfiles => BootProfiles.Of(Profiles, CommandLine);

    /// <summary>The seal in a commit's detached metadata; null where there is none.</summary>
    /// <exception cref="MalformedException">It is no seal of a version that is known.</exception>
    public static CommitSeal? Of(VariantDictionary? detached)
    {
        if (detached?[Key] is not { } value)
            return null;
        if (value.Type.Signature != "a{sv}")
            throw new MalformedException(Format, "type", "a{sv}", $"{value.Type}");
        var fields = new VariantDictionary(value);
        if (fields["version"] is not { Type.Kind: 'u' } version || version.Unsigned is not (First or WithPcr))
            throw new MalformedException(Format, "version", $"{First} or {WithPcr}", $"{fields["version"]}");
        return new CommitSeal(
            Checksum.FromBytes(Get(fields, "composefs", "ay").Bytes), Get(fields, "command-line", "s").Text, Get(fields, "os-release", "s").Text,
            [.. Get(fields, "profiles", "a(sss)").Items.Select(static each => new SealProfile(each.Items[0].Text, each.Items[1].Text, each.Items[2].Text))],
            [.. Get(fields, "uki", "aay").Items.Select(static each => each.Bytes)], [.. Get(fields, "loader", "aay").Items.Select(static each => each.Bytes)])
        {
            Pcr = version.Unsigned == WithPcr ? new PcrSignatures(Get(fields, "pcr-key", "s").Text, Get(fields, "pcr-signatures", "s").Text) : null,
        };
    }

    /// <summary>Whether another seal's signatures are for the same files.</summary>
    public bool SignsTheSameAs(CommitSeal other) => Composefs == other.Composefs && CommandLine == other.CommandLine && OsRelease == other.OsRelease
        && Profiles.SequenceEqual(other.Profiles) && Pcr == other.Pcr;

    /// <summary>Detached metadata with this seal in it, in place of another one.</summary>
    public VariantDictionary AddTo(VariantDictionary? detached)
    {
        GVariantType bytes = GVariantType.Parse("ay");
        VariantDictionary fields = VariantDictionary.Empty
            .With("version", GVariant.Of(Pcr is null ? First : WithPcr))
            .With("composefs", GVariant.Of(Composefs.ToArray()))
            .With("command-line", CommandLine)
            .With("os-release", OsRelease)
            .With("profiles", GVariant.Array(GVariantType.Parse("(sss)"), [.. Profiles.Select(static each =>
                GVariant.Tuple(GVariant.Of(each.Id), GVariant.Of(each.Title), GVariant.Of(each.MoreArguments)))]))
            .With("uki", GVariant.Array(bytes, [.. UkiSignatures.Select(GVariant.Of)]))
            .With("loader", GVariant.Array(bytes, [.. LoaderSignatures.Select(GVariant.Of)]));
        if (Pcr is { } pcr)
            fields = fields.With("pcr-key", pcr.PublicKey).With("pcr-signatures", pcr.Signatures);
        return (detached ?? VariantDictionary.Empty).With(Key, fields.Variant);
    }

    private static GVariant Get(VariantDictionary fields, string name, string type) => fields[name] is { } value && value.Type.Signature == type
        ? value
        : throw new MalformedException(Format, name, type, fields[name]?.Type.Signature ?? "nothing");
}
