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

    /// <summary>The age from which on a summary is renewed though it says nothing new: long before boxes would find it too old.</summary>
    public TimeSpan RenewAfter => Document.SummaryAge / 4;

    /// <summary>Asks that the document is still believed, and that commits are signed as it says.</summary>
    /// <exception cref="TrustException">They are not.</exception>
    public void RequireTips(Repository repository, IReadOnlyDictionary<string, Checksum> refs)
    {
        if (now >= Document.Expires)
            throw new TrustException(history.Directory, TrustProblem.Expired, $"document {Document.Version} expired on {Document.Expires.UtcDateTime:yyyy-MM-dd}");
        foreach ((string branch, Checksum tip) in refs.Where(_ => Document.Commits.Count > 0))
        {
            TrustRule rule = Document.RuleFor(branch)
                ?? throw new TrustException($"commit {tip}", TrustProblem.TooFewSigned, $"document {Document.Version} of '{Document.Repository}' says of nobody that they may sign '{branch}'");
            Document.Require($"commit {tip} of '{branch}'", rule, repository.LoadMetadata(new ObjectName(tip, ObjectType.Commit)), CommitSignatures.Of(repository.LoadDetachedMetadata(tip)));
        }
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

    // What nobody of ours signed is not in the way: the place may have put anything there.
    private static bool Fits(TrustVersion[] own, TrustVersion each, byte[] there, byte[]? signed)
    {
        TrustDocument judge = own.FirstOrDefault(before => before.Document.Version == each.Document.Version - 1)?.Document ?? each.Document;
        return judge.WhoSigned(judge.Document, there, TrustDocument.SignaturesIn(signed)).Count >= judge.Document.Threshold;
    }
}
