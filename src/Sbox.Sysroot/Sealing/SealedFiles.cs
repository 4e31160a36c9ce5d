using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>The boot files of sealed deployments: assembled from their trees, checked against their seals, with signatures behind them.</summary>
internal sealed class SealedFiles(OstreeSysroot sysroot, SealPolicy? policy)
{
    /// <summary>Whether this box boots sealed deployments at all.</summary>
    public bool IsSealed => policy is not null;

    /// <summary>Whether files that cannot be sealed here and now are a reason to deploy nothing.</summary>
    public bool MustSealFiles => policy is { IsRunning: true };

    /// <summary>Checks that the boot files of a deployment are those that its seal signs, before anything leads to it.</summary>
    /// <exception cref="SealBrokenException">They are not, or the signer is not trusted here.</exception>
    public void Check(BootTarget target, Checksum imageDigest)
    {
        if (policy is null || target.Seal is not { } seal)
            return;
        if (seal.Composefs != imageDigest)
            throw new SealBrokenException(target.Name.Commit, PhysicalRoot.ImageName, $"the digest is {imageDigest}, and {seal.Composefs} is signed");
        using Dir tree = sysroot.Root.OpenDir(target.Name.Directory);
        using var digest = new PeDigest();
        using (UnifiedKernel parts = UnifiedKernel.Of(tree, target, imageDigest))
            sysroot.Options.AssembleUki(parts, digest);
        Check(target, "UKI", digest.Finish(), seal.UkiSignatures);
        string loader = UnifiedKernel.BootLoaderPath(UnifiedKernel.Machine(tree.Exists, tree.Path));
        byte[] program = tree.TryReadAll(loader) ?? throw new NoBootLoaderException(tree.Path, loader);
        Check(target, loader, PeDigest.Of(program), seal.LoaderSignatures);
    }

    /// <summary>Refuses a UKI that would have to be written without a signature where firmware checks: its seal may have been lost since it was deployed.</summary>
    /// <exception cref="UnsealedCommitException">It has no seal, and nobody said that this is well.</exception>
    public void RequireSeal(BootTarget target)
    {
        if (policy is { FirmwareChecks: true } && !target.MayBeUnsealed && target.Seal is not { UkiSignatures.Count: > 0 })
            throw new UnsealedCommitException(target.Name.Commit);
    }

    /// <summary>Whether the boot loader of a deployment may take another one's place: where firmware checks, an unsigned one would leave nothing that starts.</summary>
    public bool MayReplaceLoader(BootTarget target) => policy is not { FirmwareChecks: true } || target.Seal is { LoaderSignatures.Count: > 0 };

    /// <summary>A boot loader's bytes as they go on the ESP.</summary>
    public byte[] SignedLoader(BootTarget target, byte[] loader) =>
        policy is not null && target.Seal is { LoaderSignatures.Count: > 0 } seal ? PeSignatures.Attach(loader, seal.LoaderSignatures) : loader;

    /// <summary>Puts the signatures behind a UKI that was just written, unsigned, into a stream that can seek.</summary>
    /// <exception cref="UnsealedCommitException">As <see cref="RequireSeal"/>.</exception>
    public void Sign(BootTarget target, Stream uki)
    {
        RequireSeal(target);
        if (policy is null || target.Seal is not { UkiSignatures.Count: > 0 } seal)
            return;
        var headers = new byte[4096];
        uki.Position = 0;
        int read = uki.ReadAtLeast(headers, headers.Length, throwOnEndOfStream: false);
        byte[] table = PeSignatures.Table(seal.UkiSignatures);
        (int at, byte[] directory) = PeSignatures.Directory(headers.AsSpan(0, read), uki.Length, table.Length);
        uki.Position = PeSignatures.PaddedLength(uki.Length);
        uki.Write(table);
        uki.Position = at;
        uki.Write(directory);
    }

    /// <summary>The signatures of one file that are kept when others are offered for it: those that are here, and those of the others that count.</summary>
    /// <returns>As they were here where none counts.</returns>
    public IReadOnlyList<byte[]> Merge(IReadOnlyList<byte[]> here, IReadOnlyList<byte[]> offered)
    {
        if (policy is null)
            return Distinct([.. here, .. offered]); // nobody to ask; nothing goes by them either
        HashSet<Checksum> files = [.. here.Select(SignedDigest).OfType<Checksum>()];
        byte[][] counting = [.. offered.Where(each => SignedDigest(each) is { } file && (files.Count == 0 || files.Contains(file)))];
        IReadOnlyList<byte[]> merged = Distinct([.. here.Where(each => !policy.IsRevoked(each)), .. counting]);
        return merged.Count > 0 ? merged : here;
    }

    private static List<byte[]> Distinct(IReadOnlyList<byte[]> signatures) => [.. signatures.DistinctBy(Convert.ToHexString)];

    // Null for bytes that are no signature, for a stranger's, and for one that the firmware refuses.
    private Checksum? SignedDigest(byte[] signature)
    {
        try
        {
            return policy!.IsRevoked(signature) ? null : Authenticode.SignedDigest(signature, policy.Certificates);
        }
        catch (MalformedException)
        {
            return null;
        }
    }

    private void Check(BootTarget target, string file, Checksum digest, IReadOnlyList<byte[]> signatures)
    {
        if (signatures.Any(policy!.IsRevoked))
            throw new SealBrokenException(target.Name.Commit, file, "it bears the signature of a key that was revoked (the firmware's dbx), so the firmware does not start it");
        if (!signatures.Any(each => Authenticode.Verify(each, digest, policy.Certificates) is not null))
            throw new SealBrokenException(
                target.Name.Commit, file, $"none of its {signatures.Count} signatures is by a certificate of {policy.Source} and for this file ({digest})");
    }
}
