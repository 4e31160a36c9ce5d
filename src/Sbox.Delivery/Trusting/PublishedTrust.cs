using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Delivery;

/// <summary>The trust documents that go along with a publication, and what they ask of it: boxes would refuse what does not fit them, so it is not sent.</summary>
/// <param name="history">The publisher's documents.</param>
/// <param name="place">The place.</param>
/// <param name="now">Of this publication.</param>
internal sealed class PublishedTrust(TrustHistory history, IPlace place, DateTimeOffset now)
{
    /// <summary>The document that boxes will go by.</summary>
    public TrustDocument Document { get; } = (history.InForce ?? throw new TrustHistoryException(history.Directory, $"document {history.Versions[0].Document.Version} is not signed by enough yet")).Document;

    private static readonly TimeSpan ClocksDiffer = TimeSpan.FromDays(1); // boxes bear as much

    /// <summary>The age from which on a summary is renewed though it says nothing new: long before boxes would find it too old.</summary>
    public TimeSpan RenewAfter => Document.SummaryAge / 4;

    /// <summary>Asks that the document is still believed, and that commits are signed as it says.</summary>
    /// <exception cref="TrustException">They are not.</exception>
    public void RequireTips(Repository repository, IReadOnlyDictionary<string, Checksum> refs)
    {
        if (now >= Document.Expires)
            throw new TrustException(history.Directory, TrustProblem.Expired, $"document {Document.Version} expired on {Document.Expires.UtcDateTime:yyyy-MM-dd}");
        foreach ((string branch, Checksum tip) in refs.Where(_ => Document.Commits.Count > 0))
            RequireTip(branch, tip, repository.LoadMetadata(new ObjectName(tip, ObjectType.Commit)), CommitSignatures.Of(repository.LoadDetachedMetadata(tip)));
    }

    /// <summary>
    /// Of when a new summary is to be: of now; or, where the clock of another publisher is ahead of this one, a second later than the one that is there, since boxes that have taken
    /// that one refuse what is older. What no key signed that may sign summaries now, boxes have not taken, or do not remember.
    /// </summary>
    /// <param name="there">What is there.</param>
    /// <param name="mayGoBack">Of now in any case.</param>
    /// <exception cref="SummaryAheadException">It is ahead by more than clocks differ.</exception>
    public DateTimeOffset Moment(PublishedState there, bool mayGoBack)
    {
        if (mayGoBack || there.Summary?.Modified is not { } then || then < now || Document.WhoSigned(Document.Summary, there.SummaryBytes, CommitSignatures.Of(there.Signatures)).Count == 0)
            return now;
        return then - now <= ClocksDiffer ? then.AddSeconds(1) : throw new SummaryAheadException(place.Location, then, now);
    }

    /// <summary>What is said where the new summary is of a time that this clock has not come to.</summary>
    public static string OfClock(DateTimeOffset moment) =>
        $"The summary there is of {moment.AddSeconds(-1).UtcDateTime:yyyy-MM-dd HH:mm:ss} UTC, which this machine's clock has not come to: the new one is of a second later. Is this clock right, and that of whoever published before?";

    /// <summary>What boxes will refuse of a publication that is as it must be, a line each: it may well be meant so, or another publisher's to mend.</summary>
    /// <param name="repository">The repository that is published.</param>
    /// <param name="there">What is there.</param>
    /// <param name="refs">The branches that are published now.</param>
    /// <param name="others">Those that stay there as they are.</param>
    /// <param name="cancel">Ends it.</param>
    public async Task<IReadOnlyList<string>> Doubts(
        Repository repository, PublishedState there, IReadOnlyDictionary<string, Checksum> refs, IReadOnlyDictionary<string, Checksum> others, CancellationToken cancel)
    {
        var doubts = new List<string>();
        foreach ((string branch, Checksum tip) in others.Where(_ => Document.Commits.Count > 0))
        {
            byte[]? beside = await place.TryRead(PublishPlanner.PathOf(new ObjectName(tip, ObjectType.CommitMeta)), cancel).ConfigureAwait(false);
            if (await CommitOf(repository, tip, cancel).ConfigureAwait(false) is { } commit && Finding(branch, tip, commit, TrustDocument.SignaturesIn(beside)) is { } finding)
                doubts.Add($"'{branch}' is there and not published now, and no box will take it: {finding}");
        }

        foreach ((string branch, Checksum tip) in refs)
        {
            if (there.Refs.TryGetValue(branch, out Checksum old) && old != tip && await CommitOf(repository, old, cancel).ConfigureAwait(false) is { } before
                && TimeOf(before) > repository.LoadCommit(tip).Timestamp)
                doubts.Add($"'{branch}' leads to an older commit than the one that is there: boxes that have that one take it with sbox upgrade --allow-downgrade alone");
        }

        return doubts;
    }

    /// <summary>Asks that a summary is signed as the document says.</summary>
    /// <exception cref="TrustException">It is not.</exception>
    public void RequireSummary(byte[] summary, VariantDictionary signatures) =>
        Document.Require("the new summary", Document.Summary, summary, CommitSignatures.Of(signatures));

    /// <summary>Sends the documents that are not there, and signatures that came since. Signatures go first: whoever finds a document finds them.</summary>
    /// <returns>Whether a document was sent.</returns>
    /// <exception cref="TrustBehindException">Another document is there by that version.</exception>
    public async Task<bool> Send(Sending sending, CancellationToken cancel)
    {
        TrustVersion[] own = [.. history.Versions.TakeWhile(each => each.Document.Version <= Document.Version)];
        IReadOnlyList<string> missing = await place.Missing([.. own.Select(static each => TrustFiles.Document(each.Document.Version))], cancel).ConfigureAwait(false);
        foreach (TrustVersion each in own.Where(each => each == own[^1] || missing.Contains(TrustFiles.Document(each.Document.Version))))
        {
            string path = TrustFiles.Document(each.Document.Version), beside = TrustFiles.Signatures(each.Document.Version);
            byte[]? there = await place.TryRead(path, cancel).ConfigureAwait(false), signed = await place.TryRead(beside, cancel).ConfigureAwait(false);
            if (there is not null && !there.AsSpan().SequenceEqual(each.Bytes) && Fits(own, each, there, signed))
                throw new TrustBehindException($"{place.Location}/{path}", $"another document {each.Document.Version} is there, and boxes may believe it by now");
            await sending.Replace(beside, signed, TrustDocument.ToFile(each.Signatures), cancel).ConfigureAwait(false);
            await place.Settle(cancel).ConfigureAwait(false);
            await sending.Replace(path, there, each.Bytes, cancel).ConfigureAwait(false);
        }

        await place.Settle(cancel).ConfigureAwait(false);
        return missing.Count > 0;
    }

    private void RequireTip(string branch, Checksum tip, byte[] commit, IReadOnlyList<byte[]> signatures)
    {
        TrustRule rule = Document.RuleFor(branch)
            ?? throw new TrustException($"commit {tip}", TrustProblem.TooFewSigned, $"document {Document.Version} of '{Document.Repository}' says of nobody that they may sign '{branch}'");
        Document.Require($"commit {tip} of '{branch}'", rule, commit, signatures);
    }

    // Why boxes would not take it; null where they will.
    private string? Finding(string branch, Checksum tip, byte[] commit, IReadOnlyList<byte[]> signatures)
    {
        try
        {
            RequireTip(branch, tip, commit, signatures);
            return null;
        }
        catch (TrustException unbelieved)
        {
            return unbelieved.Message;
        }
    }

    // Null where neither has it: the making of the summary says so.
    private async Task<byte[]?> CommitOf(Repository repository, Checksum commit, CancellationToken cancel)
    {
        var name = new ObjectName(commit, ObjectType.Commit);
        byte[]? bytes = repository.Has(name) ? repository.LoadMetadata(name) : await place.TryRead(PublishPlanner.PathOf(name), cancel).ConfigureAwait(false);
        return bytes is not null && Checksum.Of(bytes) == commit ? bytes : null;
    }

    // Null where it is none, though it has the hash that its name says: nobody has deployed that.
    private static ulong? TimeOf(byte[] commit)
    {
        try
        {
            return Commit.Parse(commit).Timestamp;
        }
        catch (MalformedException)
        {
            return null;
        }
    }

    // What nobody of ours signed is not in the way: the place may have put anything there.
    private static bool Fits(TrustVersion[] own, TrustVersion each, byte[] there, byte[]? signed)
    {
        TrustDocument judge = own.FirstOrDefault(before => before.Document.Version == each.Document.Version - 1)?.Document ?? each.Document;
        return judge.WhoSigned(judge.Document, there, TrustDocument.SignaturesIn(signed)).Count >= judge.Document.Threshold;
    }
}
