using System.Collections.Concurrent;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Whether a pull uses static deltas.</summary>
public enum DeltaUse
{
    /// <summary>Where the source lists one that fits; else objects one by one.</summary>
    WherePossible,
    /// <summary>Never.</summary>
    Never,
    /// <summary>Always: a commit to which no delta leads is not pulled.</summary>
    Required,
}

/// <summary>What a pull took by deltas, or would take.</summary>
/// <param name="Parts">Parts fetched.</param>
/// <param name="TotalParts">Parts that there are; those that bring nothing new are not fetched.</param>
/// <param name="Size">Bytes of the parts that are needed.</param>
/// <param name="UncompressedSize">Bytes of the objects that they make.</param>
/// <param name="Loose">Files fetched for it beside the parts: lists and superblocks.</param>
public readonly record struct DeltaUsage(int Parts, int TotalParts, long Size, long UncompressedSize, int Loose)
{
    /// <summary>Both together.</summary>
    public static DeltaUsage operator +(DeltaUsage one, DeltaUsage other) => new(
        one.Parts + other.Parts, one.TotalParts + other.TotalParts, one.Size + other.Size, one.UncompressedSize + other.UncompressedSize, one.Loose + other.Loose);
}

/// <summary>Where a pull gets the files of deltas from.</summary>
internal interface IDeltaSource
{
    /// <summary>The list of deltas to a commit, from its index or the summary; null where there is none.</summary>
    Task<Dictionary<DeltaName, Checksum>?> List(Checksum to, CancellationToken cancel);

    /// <summary>A small file; null where there is none.</summary>
    Task<byte[]?> TryRead(string path, CancellationToken cancel);

    /// <summary>A file of any size.</summary>
    Task<Stream> Open(string path, Transaction transaction, CancellationToken cancel);

    /// <summary>What a path there is called, for errors.</summary>
    string NameOf(string path);
}

/// <summary>Takes a commit by a delta, where one fits: the newest whole commit here that one leads from, else one from nothing.</summary>
/// <param name="target">Where to.</param>
/// <param name="source">Where from.</param>
/// <param name="use">Whether.</param>
/// <param name="dryRun">Only looks.</param>
/// <param name="verify">Asked whether the delta's commit is believed, before anything of it is kept; throws where it is not.</param>
internal sealed class DeltaPull(
    Repository target, IDeltaSource source, DeltaUse use, bool dryRun, Func<DeltaSuperblock, CancellationToken, Task> verify)
{
    /// <summary>What was taken.</summary>
    public DeltaUsage Usage { get; private set; }

    /// <summary>Adds what a delta to the commit makes, where there is one that fits. What it leaves out is pulled as ever.</summary>
    /// <exception cref="PullException">The source has a delta that is not what its list says; or none, and one is required.</exception>
    public async Task Take(Transaction transaction, Checksum to, CancellationToken cancel)
    {
        // An archive keeps objects compressed, one by one: making them out of a delta would cost more than it saves.
        if (target.Mode == RepositoryMode.Archive && use == DeltaUse.Required)
            throw new PullException(target.Path, "a repository that is no archive", "Can't use static deltas in an archive repo");
        if (use == DeltaUse.Never || target.Mode == RepositoryMode.Archive || IsWhole(to))
            return;
        Dictionary<DeltaName, Checksum>? listed = await source.List(to, cancel).ConfigureAwait(false);
        if (Choose(listed?.Keys.Where(name => name.To == to) ?? []) is not { } name)
        {
            if (use == DeltaUse.Required)
                throw new PullException(source.NameOf(DeltaName.IndexOf(to)), "a delta", $"Static deltas required, but none found for {to}");
            return;
        }

        byte[]? bytes = await source.TryRead(name.Superblock, cancel).ConfigureAwait(false);
        if (bytes is null && use != DeltaUse.Required)
            return; // listed and gone: the objects are there all the same
        if (bytes is null || Checksum.Of(bytes) != listed![name])
            throw new PullException(source.NameOf(name.Superblock), $"a superblock that hashes to {listed![name]}", bytes is null ? "none" : $"{Checksum.Of(bytes)}");
        Usage += new DeltaUsage(0, 0, 0, 0, Loose: 2);
        await Apply(transaction, DeltaDirectory.Parse(bytes, source.NameOf(name.Superblock)), name, cancel).ConfigureAwait(false);
    }

    private async Task Apply(Transaction transaction, DeltaSuperblock superblock, DeltaName name, CancellationToken cancel)
    {
        if (superblock.Name != name)
            throw new PullException(source.NameOf(name.Superblock), $"the delta {name}", $"{superblock.Name}");
        using var apply = new DeltaApply(transaction, superblock, source.NameOf(name.Directory));
        if (!dryRun)
        {
            apply.CheckCommit();
            await verify(superblock, cancel).ConfigureAwait(false);
        }

        for (int i = 0; i < superblock.Parts.Count; i++)
        {
            DeltaPartHeader part = superblock.Parts[i];
            bool needed = !apply.HasAll(i);
            Usage += new DeltaUsage(needed && !dryRun ? 1 : 0, 1, needed ? (long)part.Size : 0, needed ? (long)part.UncompressedSize : 0, 0);
            if (!needed || dryRun)
                continue;
            using Stream bytes = superblock.Inline(i) is { } inline
                ? new MemoryStream(inline, writable: false)
                : await source.Open(name.Part(i), transaction, cancel).ConfigureAwait(false);
            apply.AddPart(i, bytes, cancel);
        }

        if (!dryRun)
            apply.AddCommit();
    }

    private bool IsWhole(Checksum commit) => target.Has(new ObjectName(commit, ObjectType.Commit)) && !target.IsPartial(commit);

    private DeltaName? Choose(IEnumerable<DeltaName> names)
    {
        DeltaName? best = null;
        ulong newest = 0;
        foreach (DeltaName name in names)
        {
            if (name.From is not { } from)
            {
                best ??= name;
                continue;
            }

            if (!IsWhole(from) || target.LoadCommit(from).Timestamp is var time && best is { From: not null } && time <= newest)
                continue;
            (best, newest) = (name, time);
        }

        return best;
    }
}
