using System.Security.Cryptography;
using System.Text;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Delivery;

/// <summary>
/// Publishes branches of a repository to a place from which readers take them by a static server. At any moment, and wherever it is cut short,
/// a reader there finds all of the old state or all of the new: what is led to is sent before what leads there, and the next run goes on.
/// </summary>
/// <param name="repository">The repository, of any mode; deltas are made and kept in it. Must stay open.</param>
/// <param name="place">The place; must stay open.</param>
/// <param name="options">What is published.</param>
/// <remarks>docs/decisions/0018-a-publication-is-never-half-seen.md.</remarks>
public sealed class Publisher(Repository repository, IPlace place, PublishOptions options)
{
    /// <summary>Finds what publishing would do.</summary>
    /// <exception cref="NotPublishableException">A branch cannot be published.</exception>
    /// <exception cref="RefNotFoundException">There is no such branch.</exception>
    /// <exception cref="SignatureWantedException">The summary there is signed, and no key was given.</exception>
    /// <exception cref="OtherPublicationException">What is there is not what the repository is a mirror of.</exception>
    /// <exception cref="MirrorOutdatedException">The repository is a mirror, and boxes would refuse its summary.</exception>
    /// <exception cref="PlaceFailedException">The place could not be asked.</exception>
    public async Task<PublishPlan> Plan(CancellationToken cancel = default)
    {
        (PublishOptions how, MirroredSummary? mirrored) = new PublishPlanner(repository, place, options).Mirrored();
        return await new PublishPlanner(repository, place, how, mirrored).Plan(cancel).ConfigureAwait(false);
    }

    /// <summary>Finds what there is to do, and does it.</summary>
    /// <param name="progress">Told of every file.</param>
    /// <param name="cancel">Looked at between files; what was sent stays, and the next run needs not send it.</param>
    /// <exception cref="PlaceBusyException">Somebody else publishes there.</exception>
    /// <exception cref="PlaceUnfitException">Something else is there.</exception>
    /// <exception cref="ObjectCorruptException">An object here is damaged; nothing leads to it there.</exception>
    /// <exception cref="PlaceFailedException">The place could not be written to.</exception>
    public async Task<PublishReport> Run(IProgress<PublishProgress>? progress = null, CancellationToken cancel = default)
    {
        await using IAsyncDisposable held = await place.Open(cancel).ConfigureAwait(false);
        PublishPlan plan = await Plan(cancel).ConfigureAwait(false);
        var sending = new Sending(place, progress);
        MakeDeltas(plan, sending, cancel);
        var summary = await PublishedSummary.Prepare(repository, place, plan, plan.How, cancel).ConfigureAwait(false);
        await summary.Announce(sending, cancel).ConfigureAwait(false);
        await SendObjects(plan, sending, cancel).ConfigureAwait(false);
        await SendDeltas(plan, sending, cancel).ConfigureAwait(false);
        await SendCommits(plan, sending, cancel).ConfigureAwait(false);
        await SendRefs(plan, sending, cancel).ConfigureAwait(false);
        await summary.Send(sending, cancel).ConfigureAwait(false);
        await DropOthers(plan, cancel).ConfigureAwait(false);
        return new PublishReport(plan, sending.Files, sending.Bytes, summary.IsSigned);
    }

    private void MakeDeltas(PublishPlan plan, Sending sending, CancellationToken cancel)
    {
        sending.Begin(PublishStep.Deltas, plan.ToMake.Count);
        var how = new DeltaOptions { Clock = options.Clock, Recompress = true };
        foreach (DeltaReport _ in repository.MakeDeltas(plan.ToMake, how, sending, cancel))
            sending.Passed();
    }

    private async Task SendObjects(PublishPlan plan, Sending sending, CancellationToken cancel)
    {
        sending.Begin(PublishStep.Objects, plan.Objects.Count + plan.Commits.Count + plan.Deltas.Count);
        using var reader = new ArchiveReader(repository);
        await sending.SendAll(plan.Objects, name => new SentFile(PublishPlanner.PathOf(name), reader.Open(name), Lifetime.Immutable), cancel).ConfigureAwait(false);
    }

    private async Task SendDeltas(PublishPlan plan, Sending sending, CancellationToken cancel)
    {
        foreach (DeltaName delta in plan.Deltas)
            await SendDelta(delta, sending, cancel).ConfigureAwait(false);
        foreach (IGrouping<Checksum, DeltaName> made in plan.Deltas.GroupBy(static delta => delta.To))
            await SendIndex(made.Key, made, sending, cancel).ConfigureAwait(false);
        await place.Settle(cancel).ConfigureAwait(false);
    }

    // All parts before the superblock that tells of them, and that before the list by which it is found: where it is, so are they.
    private async Task SendDelta(DeltaName delta, Sending sending, CancellationToken cancel)
    {
        byte[] superblock = repository.ReadSuperblock($"{delta}");
        var parsed = DeltaSuperblock.Parse(superblock);
        if (await place.TryRead(delta.Superblock, cancel).ConfigureAwait(false) is { } there && there.AsSpan().SequenceEqual(superblock))
            return;
        if (repository.ReadRecompressing(parsed) is { } smaller)
            await SendParts(smaller.Superblock, smaller.Bytes, delta.RecompressingSuperblock, parsed, sending, cancel).ConfigureAwait(false);
        await SendParts(parsed, superblock, delta.Superblock, null, sending, cancel).ConfigureAwait(false);
    }

    // Without those that another has too; others lie in the superblock.
    private async Task SendParts(DeltaSuperblock superblock, byte[] bytes, string path, DeltaSuperblock? other, Sending sending, CancellationToken cancel)
    {
        HashSet<string> sent = [.. Enumerable.Range(0, other?.Parts.Count ?? 0).Select(index => other!.PathOf(index))];
        int[] parts = [.. Enumerable.Range(0, superblock.Parts.Count).Where(index => !sent.Contains(superblock.PathOf(index)) && repository.Dir.Exists(superblock.PathOf(index)))];
        await sending.SendAll(parts, index => new SentFile(superblock.PathOf(index), OpenPart(superblock, index), Lifetime.Immutable), cancel).ConfigureAwait(false);
        await sending.SendAll([bytes], each => new SentFile(path, new MemoryStream(each, writable: false), Lifetime.Immutable), cancel).ConfigureAwait(false);
    }

    private async Task SendIndex(Checksum to, IEnumerable<DeltaName> made, Sending sending, CancellationToken cancel)
    {
        string path = DeltaName.IndexOf(to);
        byte[]? there = await place.TryRead(path, cancel).ConfigureAwait(false);
        var list = new Dictionary<DeltaName, Checksum>(there is null ? new Dictionary<DeltaName, Checksum>() : DeltaIndex.Parse(there));
        foreach (DeltaName delta in made)
            list[delta] = Checksum.Of(repository.ReadSuperblock($"{delta}"));
        await sending.Replace(path, there, DeltaIndex.ToBytes(list), cancel).ConfigureAwait(false);
    }

    // What lies beside a commit before it: whoever finds the commit finds its signatures. A newer signature replaces what is there.
    private async Task SendCommits(PublishPlan plan, Sending sending, CancellationToken cancel)
    {
        foreach (Checksum commit in plan.Commits.Concat(plan.Refs.Values).Distinct())
        {
            if (repository.LoadDetachedMetadata(commit) is not { } beside)
                continue;
            string path = PublishPlanner.PathOf(new ObjectName(commit, ObjectType.CommitMeta));
            await sending.Replace(path, await place.TryRead(path, cancel).ConfigureAwait(false), beside.ToBytes(), cancel).ConfigureAwait(false);
        }

        await place.Settle(cancel).ConfigureAwait(false);
        using var reader = new ArchiveReader(repository);
        await sending.SendAll(plan.Commits, commit =>
        {
            var name = new ObjectName(commit, ObjectType.Commit);
            return new SentFile(PublishPlanner.PathOf(name), reader.Open(name), Lifetime.Immutable);
        }, cancel).ConfigureAwait(false);
        foreach (string marker in plan.Commits.Select(PublishPlanner.PartialMarker))
        {
            if (await place.TryRead(marker, cancel).ConfigureAwait(false) is not null)
                await place.Delete(marker, cancel).ConfigureAwait(false);
        }
    }

    private async Task SendRefs(PublishPlan plan, Sending sending, CancellationToken cancel)
    {
        sending.Begin(PublishStep.Summary, 0);
        await sending.Replace("config", plan.There.Config, Config(plan.There.Config), cancel).ConfigureAwait(false);
        await place.Settle(cancel).ConfigureAwait(false);
        foreach ((string name, Checksum target) in plan.Refs)
        {
            string path = $"refs/heads/{name}";
            await sending.Replace(path, await place.TryRead(path, cancel).ConfigureAwait(false), Encoding.ASCII.GetBytes($"{target}\n"), cancel).ConfigureAwait(false);
        }

        await place.Settle(cancel).ConfigureAwait(false);
    }

    private async Task DropOthers(PublishPlan plan, CancellationToken cancel)
    {
        foreach (string name in plan.How.DropOthers ? plan.Others.Keys : [])
            await place.Delete($"refs/heads/{name}", cancel).ConfigureAwait(false);
    }

    private byte[] Config(byte[]? there)
    {
        KeyFile config = (there is null ? KeyFile.Empty.With("core", "repo_version", "1") : KeyFile.Parse(Encoding.UTF8.GetString(there)))
            .With("core", "mode", RepositoryMode.Archive.Name()).With("core", "indexed-deltas", "true");
        if (repository.CollectionId is { } collection)
            config = config.With("core", "collection-id", collection);
        return Encoding.UTF8.GetBytes(config.ToString());
    }

    private FileStream OpenPart(DeltaSuperblock superblock, int index)
    {
        string path = superblock.PathOf(index);
        var part = new FileStream(repository.Dir.OpenFile(path), FileAccess.Read, bufferSize: 0);
        var found = Checksum.FromBytes(SHA256.HashData(part));
        part.Position = 0;
        if (found == superblock.Parts[index].Checksum)
            return part;
        part.Dispose();
        throw new NotPublishableException(repository.Dir.Of(path), $"its bytes hash to {found}, and the delta that it is a part of says {superblock.Parts[index].Checksum}");
    }
}
