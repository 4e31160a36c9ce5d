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

/// <summary>Whether a pull takes the smaller delta, where there is one, whose outcome it must compress again.</summary>
public enum RecompressUse
{
    /// <summary>Where the bytes that it saves would take longer to come than the compressing takes.</summary>
    WhereItIsSooner,
    /// <summary>Always: bytes are dear.</summary>
    Always,
    /// <summary>Never: the processor is slow.</summary>
    Never,
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

    /// <summary>A file.</summary>
    /// <param name="path">Where it is.</param>
    /// <param name="size">The most that it may be, bytes.</param>
    /// <param name="checksum">SHA-256 that it should have; who opens it may ask.</param>
    /// <param name="transaction">In whose room it waits.</param>
    /// <param name="cancel">Ends it.</param>
    Task<Stream> Open(string path, long size, Checksum checksum, Transaction transaction, CancellationToken cancel);

    /// <summary>What a path there is called, for errors.</summary>
    string NameOf(string path);

    /// <summary>How fast bytes come from there, a second, as far as was seen; null where they need not travel.</summary>
    double? BytesPerSecond { get; }
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
    private readonly List<string> notes = [];
    private int otherwise;

    /// <summary>Whether the smaller delta is taken, where there is one.</summary>
    public RecompressUse Recompress { get; init; }

    /// <summary>What people should know of what was taken.</summary>
    public IEnumerable<string> Notes => otherwise == 0 ? notes :
        [.. notes, $"{otherwise} files were fetched by themselves: liblzma or zstd here compresses otherwise than where the delta was made; sbox-recompress=never among the remote's settings spares it the trying"];

    /// <summary>What was taken.</summary>
    public DeltaUsage Usage { get; private set; }

    /// <summary>Adds what a delta to the commit makes, where there is one that fits. What it leaves out is pulled as ever.</summary>
    /// <exception cref="PullException">The source has a delta that is not what its list says; or none, and one is required.</exception>
    public async Task Take(Transaction transaction, Checksum to, CancellationToken cancel)
    {
        using FoundDelta? found = await Find(transaction, to, cancel).ConfigureAwait(false);
        if (found is not null)
            await Apply(transaction, found, cancel).ConfigureAwait(false);
    }

    /// <summary>As the other one, for several commits, of all of which it is told what they need before the first part of one is asked for.</summary>
    public async Task Take(Transaction transaction, IReadOnlyCollection<Checksum> commits, PullPlan plan, CancellationToken cancel)
    {
        var found = new Queue<FoundDelta>();
        try
        {
            foreach (Checksum to in commits)
            {
                // Of very many, some are taken meanwhile: lists of what they hold must not fill the memory.
                while (found.Sum(static each => each.Bytes) > DeltaDirectory.MaximumPulledSuperblock)
                    await ApplyNext().ConfigureAwait(false);
                if (await Find(transaction, to, cancel).ConfigureAwait(false) is not { } one)
                    continue;
                found.Enqueue(one);
                if (!dryRun)
                    plan.Add(one.Superblock, one.Needed);
            }

            while (found.Count > 0)
                await ApplyNext().ConfigureAwait(false);
        }
        finally
        {
            foreach (FoundDelta left in found)
                left.Dispose();
        }

        async Task ApplyNext()
        {
            using FoundDelta next = found.Dequeue();
            await Apply(transaction, next, cancel).ConfigureAwait(false);
        }
    }

    private async Task<FoundDelta?> Find(Transaction transaction, Checksum to, CancellationToken cancel)
    {
        // An archive keeps objects compressed, one by one: making them out of a delta would cost more than it saves.
        if (target.Mode == RepositoryMode.Archive && use == DeltaUse.Required)
            throw new PullException(target.Path, "a repository that is no archive", "Can't use static deltas in an archive repo");
        if (use == DeltaUse.Never || target.Mode == RepositoryMode.Archive || IsWhole(to))
            return null;
        Dictionary<DeltaName, Checksum>? listed = await source.List(to, cancel).ConfigureAwait(false);
        if (Choose(listed?.Keys.Where(name => name.To == to) ?? []) is not { } name)
        {
            if (use == DeltaUse.Required)
                throw new PullException(source.NameOf(DeltaName.IndexOf(to)), "a delta", $"Static deltas required, but none found for {to}");
            return null;
        }

        byte[]? bytes = await source.TryRead(name.Superblock, cancel).ConfigureAwait(false);
        if (bytes is null && use != DeltaUse.Required)
            return null; // listed and gone: the objects are there all the same
        if (bytes is null || Checksum.Of(bytes) != listed![name])
            throw new PullException(source.NameOf(name.Superblock), $"a superblock that hashes to {listed![name]}", bytes is null ? "none" : $"{Checksum.Of(bytes)}");
        Usage += new DeltaUsage(0, 0, 0, 0, Loose: 2);
        DeltaSuperblock superblock = DeltaDirectory.Parse(bytes, source.NameOf(name.Superblock));
        if (superblock.Name != name)
            throw new PullException(source.NameOf(name.Superblock), $"the delta {name}", $"{superblock.Name}");
        long recompressed = long.MaxValue;
        int size = bytes.Length;
        if (await Smaller(superblock, cancel).ConfigureAwait(false) is { } smaller)
            (superblock, size, recompressed) = smaller;
        var found = new FoundDelta(superblock, new DeltaApply(transaction, superblock, source.NameOf(name.Directory), recompressed), size);
        try
        {
            await Check(found, cancel).ConfigureAwait(false);
            return found;
        }
        catch
        {
            found.Dispose();
            throw;
        }
    }

    // The superblock that was believed vouches for the other. It is a kindness: where something is wrong with it, the usual one is there.
    private async Task<(DeltaSuperblock Superblock, int Size, long Recompressed)?> Smaller(DeltaSuperblock usual, CancellationToken cancel)
    {
        if (usual.Recompressing is not { } said || !IsSooner(said, usual))
            return null;
        string path = usual.Name.RecompressingSuperblock;
        if (await source.TryRead(path, cancel).ConfigureAwait(false) is not { } bytes || Checksum.Of(bytes) != said.Checksum)
            return None("another one, or none");
        try
        {
            DeltaSuperblock superblock = DeltaSuperblock.Parse(bytes);
            if (superblock.Name != usual.Name || !superblock.Recompresses)
                return None($"the delta {superblock.Name}");
            Usage += new DeltaUsage(0, 0, 0, 0, Loose: 1);
            return (superblock, bytes.Length, said.Recompressed);
        }
        catch (MalformedException malformed)
        {
            return None(malformed.Message);
        }

        (DeltaSuperblock, int, long)? None(string found)
        {
            notes.Add($"{source.NameOf(path)}: {found}, where the delta beside it says {said.Checksum}; the usual delta was taken");
            return null;
        }
    }

    private bool IsSooner(RecompressingDelta smaller, DeltaSuperblock usual)
    {
        double saved = usual.Parts.Sum(static part => (double)part.Size) + usual.Fallbacks.Sum(static each => (double)each.Size) - smaller.Size;
        return saved > 0 && Recompress switch
        {
            RecompressUse.Always => true,
            RecompressUse.Never => false,
            _ => source.BytesPerSecond is { } rate && smaller.IsSooner(saved, rate, Environment.ProcessorCount),
        };
    }

    private async Task Check(FoundDelta found, CancellationToken cancel)
    {
        if (dryRun)
            return;
        found.Delta.CheckCommit();
        await verify(found.Superblock, cancel).ConfigureAwait(false);
    }

    private async Task Apply(Transaction transaction, FoundDelta found, CancellationToken cancel)
    {
        (DeltaSuperblock superblock, DeltaApply apply) = (found.Superblock, found.Delta);
        for (int i = 0; i < superblock.Parts.Count; i++)
        {
            DeltaPartHeader part = superblock.Parts[i];
            bool needed = !apply.HasAll(i);
            Usage += new DeltaUsage(needed && !dryRun ? 1 : 0, 1, needed ? (long)part.Size : 0, needed ? (long)part.UncompressedSize : 0, 0);
            if (!needed || dryRun)
                continue;
            try
            {
                using Stream bytes = superblock.Inline(i) is { } inline
                    ? new MemoryStream(inline, writable: false)
                    : await source.Open(superblock.PathOf(i), Saturated.Size(part.Size), part.Checksum, transaction, cancel).ConfigureAwait(false);
                apply.AddPart(i, bytes, cancel);
            }
            catch (PullException lacking) when (superblock.Recompresses && !lacking.IsOfTheNetwork)
            {
                notes.Add($"{lacking.Message}; what it would have made was fetched by itself");
            }
        }

        otherwise += apply.ComeOutOtherwise.Count;
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

/// <summary>A delta that fits, and whose commit is believed.</summary>
/// <param name="superblock">What it is.</param>
/// <param name="delta">Makes its objects.</param>
/// <param name="bytes">How large its superblock is.</param>
internal sealed class FoundDelta(DeltaSuperblock superblock, DeltaApply delta, long bytes) : IDisposable
{
    public DeltaSuperblock Superblock => superblock;

    public DeltaApply Delta => delta;

    public long Bytes => bytes;

    /// <summary>The parts that bring something.</summary>
    public IReadOnlyCollection<int> Needed => [.. Enumerable.Range(0, superblock.Parts.Count).Where(index => !delta.HasAll(index))];

    public void Dispose() => delta.Dispose();
}
