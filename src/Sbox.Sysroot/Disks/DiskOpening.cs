using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>Whether a version opens the box's encrypted disk by itself, by what its commit says.</summary>
/// <param name="keys">Who can open the disk; null where that could not be looked at, and only the initrd is asked.</param>
/// <remarks>docs/encryption.md.</remarks>
public sealed class DiskOpening(DiskKeys? keys)
{
    /// <summary>In a commit's metadata, true: its initrd has what encrypts and opens the disk of a root.</summary>
    public const string MetadataKey = "sbox.encrypted-root";

    /// <summary>What is to be asked of versions; null where another initrd's programs opened the disk (dracut's, by crypttab): no commit says whether such a one can, and none is refused.</summary>
    /// <param name="keys">Who can open the disk; null where that could not be looked at.</param>
    /// <param name="repository">Where commits are.</param>
    /// <param name="running">The version that runs; null where none is known.</param>
    /// <param name="run">Where sbox-root leaves word of what it opened.</param>
    public static DiskOpening? Of(DiskKeys? keys, Repository repository, Checksum? running, string run = "/run/sbox") =>
        File.Exists($"{run}/{EncryptedDisk.OpenedByName}") || keys?.Bindings.Any(static each => each.IsOurs) == true
        || (running is { } commit && repository.Has(new ObjectName(commit, ObjectType.Commit)) && CanOpen(repository, commit)) ? new DiskOpening(keys) : null;

    /// <summary>Refuses a commit that does not.</summary>
    /// <param name="repository">Where it is; of one that is not there nothing is known, and it is not refused.</param>
    /// <param name="commit">The commit.</param>
    /// <exception cref="DiskNotOpenedException">It does not.</exception>
    public void Require(Repository repository, Checksum commit)
    {
        if (!repository.Has(new ObjectName(commit, ObjectType.Commit)))
            return;
        bool canOpen = CanOpen(repository, commit);
        string? why = !canOpen ? "its initrd opens no encrypted disk" : WhyNot(CommitSeal.Of(repository.LoadDetachedMetadata(commit))?.Pcr);
        if (why is not null)
            throw new DiskNotOpenedException(commit, why, canAsk: canOpen);
    }

    private static bool CanOpen(Repository repository, Checksum commit) => repository.LoadCommit(commit).Metadata[MetadataKey] is { Boolean: true };

    // Where no TPM keeps a key, a key is typed whoever signed the version.
    private string? WhyNot(PcrSignatures? pcr)
    {
        TpmBinding[] ours = [.. (keys?.Bindings ?? []).Where(static each => each.IsOurs)];
        if (ours.Length == 0)
            return null;
        if (pcr is null)
            return "no pcr key signed it, and the TPM gives the disk's key out to versions that the owner's signed";
        return !ours.Any(each => each.GoesBy(pcr.PublicKey)) ? "another pcr key signed it than the one that the disk is bound to" : null;
    }
}

/// <summary>A version would not open the disk that it is on.</summary>
/// <param name="commit">The commit.</param>
/// <param name="why">What it lacks.</param>
/// <param name="canAsk">Whether it could ask for the recovery key; else it stops.</param>
public sealed class DiskNotOpenedException(Checksum commit, string why, bool canAsk)
    : SysrootException($"{commit.ToString()[..12]}: this box's disk is encrypted, and this version would {(canAsk ? "ask for the recovery key at each boot" : "not come up")}: {why}")
{
    /// <summary>The commit.</summary>
    public Checksum Commit { get; } = commit;

    /// <summary>Whether it could ask for the recovery key; else it stops.</summary>
    public bool CanAsk { get; } = canAsk;
}
