using System.Globalization;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Delivery;

/// <summary>
/// What a mirror may replace, and hand on. No key of its own tells which publication is its source's, so the documents do: what they say nothing of may be somebody else's, branches and all. And what boxes
/// would refuse by them is left at home: it would take from those who read there what they can have now.
/// </summary>
/// <param name="path">The repository, for errors.</param>
/// <param name="place">The place.</param>
/// <param name="history">The documents that the mirror carries.</param>
/// <param name="own">Its summary.</param>
internal sealed class MirrorGuard(string path, IPlace place, TrustHistory history, MirroredSummary own)
{
    private readonly TrustDocument document = history.InForce!.Document;

    private string Subject => Path.Combine(path, "summary");

    /// <summary>Asks for both.</summary>
    /// <param name="there">What is there.</param>
    /// <param name="others">The branches that would be forgotten there.</param>
    /// <param name="now">By this machine's clock.</param>
    /// <param name="mayGoBack">Hand on a summary also where a later one is there.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="MirrorOutdatedException">Boxes would refuse its summary.</exception>
    /// <exception cref="OtherPublicationException">Something else is there.</exception>
    /// <exception cref="UnknownBranchesException">Branches are there that nobody signed.</exception>
    public async Task Require(PublishedState there, IReadOnlyCollection<string> others, DateTimeOffset now, bool mayGoBack, CancellationToken cancel)
    {
        RequireFit(now);
        string first = TrustFiles.Document(1);
        // Two repositories may have one key for summaries; their first document is their own.
        if (await place.TryRead(first, cancel).ConfigureAwait(false) is { } bytes && !bytes.AsSpan().SequenceEqual(history.Versions[0].Bytes))
            throw new OtherPublicationException($"{place.Location}/{first}", $"it is not the first document of '{document.Repository}', which this mirror carries");
        if (there.SummaryBytes is null || there.SummaryBytes.AsSpan().SequenceEqual(own.Bytes))
            return;
        if (!there.IsSigned && others.Count > 0 && !own.MayDropUnsigned)
            throw new UnknownBranchesException(place.Location, [.. others]);
        if (there.IsSigned && !history.Versions.TakeWhile(each => each.Document.Version <= document.Version).Any(each => HasSigned(each.Document, there)))
            throw new OtherPublicationException($"{place.Location}/summary", $"none signed it who may by a document of '{document.Repository}', up to {document.Version}");
        // One that none signed who may now, boxes do not remember.
        if (!mayGoBack && there.Summary?.Modified is { } then && then > own.Parsed.Modified && HasSigned(document, there))
            throw new MirrorOutdatedException(Subject, $"it is of {Shown(own.Parsed.Modified.Value)}, and the one at {place.Location} is of {Shown(then)}: boxes that have taken that take no older one");
    }

    private void RequireFit(DateTimeOffset now)
    {
        if (own.Parsed.TrustVersion is { } known && known > document.Version)
            throw new MirrorOutdatedException(Subject, $"it goes by trust document {known}, and {document.Version} is the newest that is in {history.Directory} and signed by enough");
        if (own.Parsed.Modified is not { } made)
            throw new MirrorOutdatedException(Subject, "it does not say when it was made, and boxes take none that does not");
        if (now - made > document.SummaryAge)
            throw new MirrorOutdatedException(Subject, $"it is of {Shown(made)}, and document {document.Version} of '{document.Repository}' believes none that is older than {document.SummaryAge.TotalDays.ToString("0.#", CultureInfo.InvariantCulture)} days");
    }

    private static bool HasSigned(TrustDocument document, PublishedState there) =>
        document.WhoSigned(document.Summary, there.SummaryBytes, CommitSignatures.Of(there.Signatures)).Count > 0;

    private static string Shown(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss 'UTC'", CultureInfo.InvariantCulture);
}
