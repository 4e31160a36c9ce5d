using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Delivery;

/// <summary>The summary that is to be there, what signs it, and the order in which both come.</summary>
internal sealed class PublishedSummary
{
    private const string SummaryPath = "summary", SignaturePath = "summary.sig";

    private readonly IPlace place;
    private readonly PublishedState there;
    private readonly TimeProvider clock;
    private readonly byte[] bytes;
    private readonly VariantDictionary own;
    private readonly PublishedTrust? trust;
    private DateTimeOffset announced;

    private PublishedSummary(IPlace place, PublishPlan plan, PublishOptions options, byte[] bytes)
    {
        (this.place, there, clock, this.bytes, own, trust) = (place, plan.There, options.Clock, bytes, options.Sign?.Invoke(bytes) ?? VariantDictionary.Empty, plan.Trusting);
        trust?.RequireSummary(bytes, own);
    }

    /// <summary>Whether anything will sign it.</summary>
    public bool IsSigned => own.Keys.Any();

    private bool IsNew => there.SummaryBytes is not { } old || !old.AsSpan().SequenceEqual(bytes);

    /// <summary>Makes it, of the branches that are published now and of those that were before.</summary>
    public static async Task<PublishedSummary> Prepare(Repository repository, IPlace place, PublishPlan plan, PublishOptions options, CancellationToken cancel)
    {
        if (plan.Mirrored is { } mirrored)
            return new PublishedSummary(place, plan, options, mirrored.Bytes);
        SummaryContent content = await Content(repository, place, plan, options, cancel).ConfigureAwait(false);
        return new PublishedSummary(place, plan, options, Unchanged(repository, plan, content) ?? repository.MakeSummary(content));
    }

    /// <summary>Whether a new one will be made, where no delta is to be made first: the one that is there may say it all.</summary>
    public static async Task<bool> IsRenewed(Repository repository, IPlace place, PublishPlan plan, CancellationToken cancel) =>
        Unchanged(repository, plan, await Content(repository, place, plan, plan.How, cancel).ConfigureAwait(false)) is null;

    private static async Task<SummaryContent> Content(Repository repository, IPlace place, PublishPlan plan, PublishOptions options, CancellationToken cancel)
    {
        var refs = new SortedDictionary<string, Checksum>(StringComparer.Ordinal);
        foreach ((string name, Checksum target) in plan.Others.Where(_ => !options.DropOthers).Concat(plan.Refs))
            refs[name] = target;
        return new SummaryContent
        {
            Refs = refs, Modified = plan.Moment, Deltas = Deltas(repository, plan, options, refs.Values),
            TrustVersion = plan.Trust?.Version, CommitOf = await Commits(repository, place, refs.Values, cancel).ConfigureAwait(false),
        };
    }

    /// <summary>Sends what signs it, beside what signs the one that is there, long before it itself.</summary>
    public async Task Announce(Sending sending, CancellationToken cancel)
    {
        if (!IsSigned || !IsNew)
            return;
        await sending.Replace(SignaturePath, there.Signatures.ToBytes(), SummarySigning.Before(there.Signatures, own).ToBytes(), cancel).ConfigureAwait(false);
        await place.Settle(cancel).ConfigureAwait(false);
        announced = clock.GetUtcNow();
    }

    /// <summary>Sends it, as the last thing of all but the order of its signatures.</summary>
    public async Task Send(Sending sending, CancellationToken cancel)
    {
        // Before the wait: whoever was told of a document a moment ago that there is none asks again by the time that the summary says there is.
        if (trust is not null && await trust.Send(sending, cancel).ConfigureAwait(false))
            announced = clock.GetUtcNow();
        if (IsNew)
        {
            await Wait(sending, cancel).ConfigureAwait(false);
            if (!IsSigned && there.IsSigned)
                await place.Delete(SignaturePath, cancel).ConfigureAwait(false);
            await sending.Replace(SummaryPath, there.SummaryBytes, bytes, cancel).ConfigureAwait(false);
        }

        // At once after it: signatures of GPG fit one summary only.
        byte[]? signatures = IsSigned ? await place.TryRead(SignaturePath, cancel).ConfigureAwait(false) : null;
        if (IsSigned)
            await sending.Replace(SignaturePath, signatures, SummarySigning.After(there.Signatures, own).ToBytes(), cancel).ConfigureAwait(false);
        await place.Settle(cancel).ConfigureAwait(false);
    }

    private async Task Wait(Sending sending, CancellationToken cancel)
    {
        TimeSpan left = announced + place.Staleness - clock.GetUtcNow();
        if (!IsSigned || !there.IsSigned || left <= TimeSpan.Zero)
            return;
        sending.Begin(PublishStep.Waiting, 0);
        await Task.Delay(left, clock, cancel).ConfigureAwait(false);
    }

    // The one that is there, where a new one would say the same at another time. It is made anew for that: what lies there is not signed at its word.
    private static byte[]? Unchanged(Repository repository, PublishPlan plan, SummaryContent content)
    {
        PublishedState there = plan.There;
        if (there.Summary?.Modified is not { } then || then > content.Modified || content.Modified - then > plan.Trusting?.RenewAfter)
            return null;
        byte[] again = repository.MakeSummary(content with { Modified = then });
        return again.AsSpan().SequenceEqual(there.SummaryBytes) ? again : null;
    }

    // Those that are here, at their own word; others only where whoever signs has signed them before.
    private static Dictionary<DeltaName, Checksum> Deltas(Repository repository, PublishPlan plan, PublishOptions options, IEnumerable<Checksum> tips)
    {
        HashSet<Checksum> newest = [.. tips];
        Dictionary<DeltaName, Checksum> list = plan.Wanted.Where(repository.HasDelta).ToDictionary(static delta => delta, delta => Checksum.Of(repository.ReadSuperblock($"{delta}")));
        KeyValuePair<DeltaName, Checksum>[] others = [.. (plan.There.Summary?.Deltas ?? new Dictionary<DeltaName, Checksum>()).Where(item => newest.Contains(item.Key.To) && !list.ContainsKey(item.Key))];
        foreach ((DeltaName delta, Checksum superblock) in others.Length > 0 && (options.Sign is null || plan.There.IsSignedBy(options.Sign)) ? others : [])
            list[delta] = superblock;
        return list;
    }

    // Of branches that were published before, and from elsewhere, the commits are there alone.
    private static async Task<Func<Checksum, byte[]>> Commits(Repository repository, IPlace place, IEnumerable<Checksum> tips, CancellationToken cancel)
    {
        var commits = new Dictionary<Checksum, byte[]>();
        foreach (Checksum tip in tips.Distinct())
        {
            var name = new ObjectName(tip, ObjectType.Commit);
            string path = PublishPlanner.PathOf(name);
            byte[] found = repository.Has(name) ? repository.LoadMetadata(name)
                : await place.TryRead(path, cancel).ConfigureAwait(false) ?? throw new ObjectMissingException(place.Location, name);
            commits[tip] = Checksum.Of(found) == tip ? found : throw new ObjectCorruptException($"{place.Location}/{path}", name, Checksum.Of(found));
        }

        return commit => commits[commit];
    }
}
