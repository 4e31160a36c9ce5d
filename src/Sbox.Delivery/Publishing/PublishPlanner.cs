using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Delivery;

/// <summary>Finds what a place lacks of what is to be published.</summary>
/// <param name="repository">The repository, of any mode.</param>
/// <param name="place">The place.</param>
/// <param name="options">What is to be published.</param>
/// <param name="mirrored">The summary that is handed on as it is; null where one is made.</param>
internal sealed class PublishPlanner(Repository repository, IPlace place, PublishOptions options, MirroredSummary? mirrored = null)
{
    /// <summary>How it is to be published: as was asked for, or as a mirror, where it was not said who signs and the repository has what its source signed.</summary>
    /// <exception cref="RefNotFoundException">There is no such branch.</exception>
    public (PublishOptions Options, MirroredSummary? Summary) Mirrored() =>
        options is { Sign: null, Unsigned: false, Trust.InForce: { } document } && MirroredSummary.Of(repository, document.Document, Refs()) is { } found ? found.Into(options) : (options, null);

    public async Task<PublishPlan> Plan(CancellationToken cancel)
    {
        PublishedState there = await PublishedState.Read(place, cancel).ConfigureAwait(false);
        if (there.IsSigned && options.Sign is null && !options.Unsigned)
            throw new SignatureWantedException(place.Location);
        SortedDictionary<string, Checksum> refs = Refs();
        DateTimeOffset now = options.Clock.GetUtcNow();
        if (mirrored is not null)
            await new MirrorGuard(repository.Path, place, options.Trust!, mirrored).Require(there, [.. there.Refs.Keys.Except(refs.Keys)], now, options.SummaryMayGoBack, cancel).ConfigureAwait(false);
        (PublishedTrust? trust, string? without) = await Trusting(there, now, cancel).ConfigureAwait(false);
        trust?.RequireTips(repository, refs);
        List<Checksum> commits = [.. refs.Values.SelectMany(Versions).Distinct()];
        foreach (Checksum partial in commits.Where(repository.IsPartial))
            throw new NotPublishableException($"commit {partial}", "it is not whole here: a pull of it was cut short, or took a part only");
        List<Checksum> lacking = await Lacking(commits, cancel).ConfigureAwait(false);
        IReadOnlyList<ObjectName> objects = await Objects(lacking, cancel).ConfigureAwait(false);
        HashSet<DeltaName> wanted = WantedDeltas(refs, there);
        List<DeltaName> deltas = await Lacking(wanted, cancel).ConfigureAwait(false);
        IReadOnlyDictionary<string, Checksum> others = Others(refs, there);
        var plan = new PublishPlan(
            place.Location, refs, [.. refs.Where(item => there.Refs.GetValueOrDefault(item.Key) != item.Value).Select(item => Change(there, item.Key, item.Value))],
            objects, lacking, others, deltas, [.. deltas.Where(delta => !repository.HasDelta(delta))], objects.Sum(SizeHere))
        {
            There = there, Wanted = wanted, Trusting = trust, How = options, Mirrored = mirrored,
            Moment = mirrored is null && trust is not null ? trust.Moment(there, options.SummaryMayGoBack) : now, // a mirror makes no summary, and its clock says nothing of one
        };
        return plan with { Notes = [.. without is null ? [] : (string[])[without], .. await Notes(plan, now, cancel).ConfigureAwait(false)] };
    }

    /// <summary>Where an object lies in what is published.</summary>
    public static string PathOf(ObjectName name) => $"objects/{name.LoosePath(RepositoryMode.Archive)}";

    /// <summary>Where a repository notes that a commit is not whole.</summary>
    public static string PartialMarker(Checksum commit) => $"state/{commit}.commitpartial";

    private static string PathOf(Checksum commit) => PathOf(new ObjectName(commit, ObjectType.Commit));

    private static RefChange Change(PublishedState there, string name, Checksum target) =>
        new(name, there.Refs.TryGetValue(name, out Checksum old) ? old : null, target);

    private static string Short(Checksum commit) => commit.ToString()[..12];

    // As far as the history of what is there is here.
    private bool IsBack(RefChange change)
    {
        ulong since = repository.LoadCommit(change.New).Timestamp;
        Checksum? at = change.Old;
        while (at is { } commit && commit != change.New)
            at = TryLoad(commit) is { } there && there.Timestamp >= since ? there.Parent : null;
        return at is not null;

        Commit? TryLoad(Checksum commit)
        {
            try
            {
                return repository.Has(new ObjectName(commit, ObjectType.Commit)) ? repository.LoadCommit(commit) : null;
            }
            catch (RepositoryException)
            {
                return null; // damaged, and nothing of this publication
            }
        }
    }

    private async Task<IEnumerable<string>> Notes(PublishPlan plan, DateTimeOffset now, CancellationToken cancel)
    {
        IEnumerable<string> notes = mirrored is null ? [] : plan.Others.Keys.Select(static branch => $"'{branch}' is there, and no branch of what is mirrored: the place forgets it, and its objects stay");
        // With trust documents, their doubts say it of every commit that is older.
        if (plan.Trusting is not { } trust)
            return notes.Concat(plan.Changes.Where(IsBack).Select(static change => $"'{change.Name}' goes back: {Short(change.Old!.Value)}, which is there, is a later version than {Short(change.New)}, in its own history. Boxes that have it stay with it, and refuse the older one"));
        // Where the one that is there stays, nothing is of a time that this clock has not come to but what is there already.
        if (plan.Moment > now && (plan.ToMake.Count > 0 || await PublishedSummary.IsRenewed(repository, place, plan, cancel).ConfigureAwait(false)))
            notes = notes.Append(PublishedTrust.OfClock(plan.Moment));
        return notes.Concat(await trust.Doubts(repository, plan.There, plan.Refs, options.DropOthers ? new Dictionary<string, Checksum>() : plan.Others, cancel).ConfigureAwait(false));
    }

    // What lies there is believed as far as whoever signs now has signed it; by a mirror, as it was asked of its documents before.
    private async Task<(PublishedTrust? Trust, string? Without)> Trusting(PublishedState there, DateTimeOffset now, CancellationToken cancel)
    {
        bool waits = options is { TrustMayWait: true, Trust: not null } && there.TrustVersion is null && (options.Trust.InForce is null || (mirrored is null && !SignsBy(options.Trust.InForce.Document)));
        PublishedTrust? trust = options.Trust is { } history && !waits ? new PublishedTrust(history, place, now) : null;
        if (there.TrustVersion is { } known && known > (trust?.Document.Version ?? 0) && options.Sign is { } sign && (mirrored is not null || there.IsSignedBy(sign)))
            throw new TrustBehindException(place.Location, $"what is published there goes by trust document {known}, and {(trust is null ? "none was" : $"document {trust.Document.Version} was")} given");
        if (trust is not null)
            await RequireNewest(trust.Document, cancel).ConfigureAwait(false);
        return (trust, waits && options.Trust!.InForce?.Document is { } carried
            ? $"This is published without the trust documents in {options.Trust.Directory}: by document {carried.Version} of '{carried.Repository}', no key that was given signs summaries. --trust={options.Trust.Directory} asks for one"
            : null);
    }

    // A repository that mirrors another, and publishes branches of its own beside it, carries documents that are not about those.
    private bool SignsBy(TrustDocument document)
    {
        byte[] asked = "sbox publish asks whose key this is"u8.ToArray();
        return options.Sign is { } sign && document.WhoSigned(document.Summary, asked, CommitSignatures.Of(sign(asked))).Count > 0;
    }

    // Whoever signs now may have signed nothing there: a key that was taken out since, and documents of that time, would make a summary that no box believes.
    private async Task RequireNewest(TrustDocument own, CancellationToken cancel)
    {
        string path = TrustFiles.Document(own.Version + 1);
        if (await place.TryRead(path, cancel).ConfigureAwait(false) is not { } bytes)
            return;
        byte[] signatures = await place.TryRead(TrustFiles.Signatures(own.Version + 1), cancel).ConfigureAwait(false) ?? [];
        if (Follows(own, path, bytes, signatures))
            throw new TrustBehindException($"{place.Location}/{path}", $"boxes believe it by now, and document {own.Version} is the newest here that is signed by enough");
    }

    // Anybody may have put something else there.
    private static bool Follows(TrustDocument own, string path, byte[] bytes, byte[] signatures)
    {
        try
        {
            own.Next(path, bytes, signatures);
            return true;
        }
        catch (TrustException)
        {
            return false;
        }
    }

    private SortedDictionary<string, Checksum> Refs()
    {
        var refs = new SortedDictionary<string, Checksum>(StringComparer.Ordinal);
        IReadOnlyDictionary<string, Checksum> all = repository.Refs();
        foreach (string name in options.Refs.Count > 0 ? options.Refs : all.Keys.Where(static name => !name.Contains(':', StringComparison.Ordinal)))
        {
            if (name.Contains(':', StringComparison.Ordinal))
                throw new NotPublishableException(name, "it is a remote's branch: what is published are one's own");
            refs[name] = all.TryGetValue(name, out Checksum target) ? target : throw new RefNotFoundException(repository.Path, name);
        }

        if (refs.Count == 0)
            throw new NotPublishableException(repository.Path, "it has no branch of its own");
        if (!place.KeepsCase && refs.Keys.GroupBy(static name => name, StringComparer.OrdinalIgnoreCase).FirstOrDefault(static group => group.Count() > 1) is { } same)
            throw new NotPublishableException(string.Join(", ", same), $"there ({place.Location}) names that differ by case alone are one name");
        return refs;
    }

    // The newest and those before it that are wanted, as far as they are whole here.
    private IEnumerable<Checksum> Versions(Checksum tip)
    {
        int left = options.Depth;
        foreach ((Checksum commit, _) in repository.Log(tip))
        {
            if (commit != tip && (left-- == 0 || repository.IsPartial(commit)))
                yield break;
            yield return commit;
        }
    }

    // Also those of which a part alone was pulled there, by whatever program.
    private async Task<List<Checksum>> Lacking(IReadOnlyList<Checksum> commits, CancellationToken cancel)
    {
        IReadOnlyList<string> missing = await place.Missing([.. commits.Select(PathOf)], cancel).ConfigureAwait(false);
        var lacking = new List<Checksum>();
        foreach (Checksum commit in commits)
        {
            if (missing.Contains(PathOf(commit)) || await place.TryRead(PartialMarker(commit), cancel).ConfigureAwait(false) is not null)
                lacking.Add(commit);
        }

        return lacking;
    }

    // A commit that is there is there with all that it needs: it was sent last.
    private async Task<IReadOnlyList<ObjectName>> Objects(IReadOnlyList<Checksum> commits, CancellationToken cancel)
    {
        var needed = new HashSet<ObjectName>();
        foreach (Checksum commit in commits)
            needed.UnionWith(repository.ObjectsOf(commit, cancel).Where(static name => name.Type is not (ObjectType.Commit or ObjectType.CommitMeta)));
        if (needed.Count == 0)
            return [];
        Dictionary<string, ObjectName> byPath = needed.ToDictionary(static name => PathOf(name));
        IReadOnlyList<string> missing = await place.Missing(byPath.Keys, cancel).ConfigureAwait(false);
        return [.. missing.Order(StringComparer.Ordinal).Select(path => byPath[path])];
    }

    private SortedDictionary<string, Checksum> Others(SortedDictionary<string, Checksum> refs, PublishedState there)
    {
        var others = new SortedDictionary<string, Checksum>(there.Refs.Where(item => !refs.ContainsKey(item.Key)).ToDictionary(), StringComparer.Ordinal);
        return others.Count == 0 || options.DropOthers || options.Sign is null || there.IsSignedBy(options.Sign)
            ? others
            : throw new UnknownBranchesException(place.Location, [.. others.Keys]);
    }

    // Their directories' names are in base64: where case is lost, two of them may be one.
    private HashSet<DeltaName> WantedDeltas(SortedDictionary<string, Checksum> refs, PublishedState there)
    {
        var wanted = new HashSet<DeltaName>();
        if (!place.KeepsCase)
            return wanted;
        foreach ((string name, Checksum tip) in refs)
        {
            if (options.DeltaFromNothing)
                wanted.Add(new DeltaName(null, tip));
            wanted.UnionWith(Before(tip, there.Refs.TryGetValue(name, out Checksum published) ? published : null).Select(from => new DeltaName(from, tip)));
        }

        return wanted;
    }

    // What the list there names is there: it was sent after that. Made here anew it would be another delta of the same name.
    private async Task<List<DeltaName>> Lacking(HashSet<DeltaName> wanted, CancellationToken cancel)
    {
        var lacking = new List<DeltaName>();
        foreach (IGrouping<Checksum, DeltaName> made in wanted.GroupBy(static delta => delta.To))
        {
            byte[]? index = await place.TryRead(DeltaName.IndexOf(made.Key), cancel).ConfigureAwait(false);
            IReadOnlyDictionary<DeltaName, Checksum> listed = index is null ? new Dictionary<DeltaName, Checksum>() : DeltaIndex.Parse(index);
            lacking.AddRange(made.Where(delta => !listed.TryGetValue(delta, out Checksum there) || (SuperblockOf(delta) is { } own && own != there)));
        }

        return lacking;
    }

    private Checksum? SuperblockOf(DeltaName delta) => repository.HasDelta(delta) ? Checksum.Of(repository.ReadSuperblock($"{delta}")) : null;

    // The versions before, by the commits' own word; else, where each is the first of its history, the one that readers have now.
    private IEnumerable<Checksum> Before(Checksum tip, Checksum? published) => repository.Log(tip).Skip(1).Select(static version => version.Checksum)
        .Prepend(published ?? tip).Where(from => from != tip && IsWhole(from)).Distinct().Take(options.DeltasFrom);

    private bool IsWhole(Checksum commit) => repository.Has(new ObjectName(commit, ObjectType.Commit)) && !repository.IsPartial(commit);

    private long SizeHere(ObjectName name) => name.Type != ObjectType.File ? repository.LoadMetadata(name).Length
        : repository is { Mode: RepositoryMode.Archive, Parent: null } ? repository.StoredSize(name)
        : repository.LoadFile(name.Checksum).Size;
}
