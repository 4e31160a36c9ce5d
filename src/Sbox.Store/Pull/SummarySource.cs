using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>A remote's summary as it came and was believed.</summary>
/// <param name="Parsed">What it says.</param>
/// <param name="Bytes">The file.</param>
/// <param name="Signature">The file <c>summary.sig</c>; null where there is none, or nobody asked.</param>
internal sealed record FoundSummary(Summary Parsed, byte[] Bytes, byte[]? Signature)
{
    /// <summary>Makes it a repository's own; never a summary beside the signature of another.</summary>
    public void KeepIn(Repository repository)
    {
        // A pull that brings nothing new leaves readers no moment without a signature.
        if (IsThere(repository, "summary", Bytes) && IsThere(repository, "summary.sig", Signature))
            return;
        repository.Dir.TryUnlink("summary.sig");
        Durable.Replace(repository.Dir, "summary", Bytes);
        if (Signature is not null)
            Durable.Replace(repository.Dir, "summary.sig", Signature);
    }

    private static bool IsThere(Repository repository, string name, byte[]? bytes) =>
        repository.Dir.TryReadAll(name) is { } there ? bytes is not null && there.AsSpan().SequenceEqual(bytes) : bytes is null;
}

/// <summary>Fetches a remote's summary, once, believing it only as its settings say; what was believed before is not fetched again.</summary>
/// <param name="fetcher">Where from.</param>
/// <param name="trust">What it must be signed with; null for nothing.</param>
/// <param name="cache">What was believed before; null for nothing.</param>
/// <param name="known">The summary, where its hash was known and it is here already.</param>
/// <param name="withSignature">Whether the signature is wanted even where nothing is verified.</param>
internal sealed class SummarySource(HttpFetcher fetcher, RemoteTrust? trust, SummaryCache? cache, byte[]? known, bool withSignature)
{
    private const string Path = "summary", SignaturePath = "summary.sig";
    private readonly Lock gate = new();
    private Task<FoundSummary?>? found;

    /// <summary>The summary; null where the server has none and none must be.</summary>
    /// <exception cref="PullException">It could not be fetched, or is none.</exception>
    /// <exception cref="SignatureException">It is not signed as it must be.</exception>
    /// <exception cref="TrustException">It is not to be believed by the remote's trust document.</exception>
    public Task<FoundSummary?> Get(CancellationToken cancel)
    {
        lock (gate)
            return found ??= Find(cancel);
    }

    /// <summary>Goes on to the newest trust document that a server has, where the remote has one at all, and finds the summary that fits it.</summary>
    /// <param name="fetcher">Where from.</param>
    /// <param name="trust">What the remote is believed by; null for nothing.</param>
    /// <param name="begin">Makes a source of the summary, of which nothing was fetched yet.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="TrustException">What follows is no document, or no summary fits it.</exception>
    public static async Task<SummarySource> Follow(HttpFetcher fetcher, RemoteTrust? trust, Func<SummarySource> begin, CancellationToken cancel)
    {
        SummarySource summary = begin();
        if (trust?.Document is not { } document)
            return summary;
        await document.Follow(FetchDocument, fetcher.UrlOf, cancel).ConfigureAwait(false);
        try
        {
            await summary.Get(cancel).ConfigureAwait(false);
            return summary;
        }
        catch (TrustException unbelieved) when (unbelieved.Problem is TrustProblem.Withheld or TrustProblem.TooFewSigned)
        {
            // Whoever publishes may have sent both since the documents were asked for.
            if (!await document.Follow(FetchDocument, fetcher.UrlOf, cancel).ConfigureAwait(false))
                throw;
            return begin();
        }

        // That one is withheld is known from the summary: there is none also where a server says "forbidden", or a spare mirror says nothing.
        Task<byte[]?> FetchDocument(string path, CancellationToken stop) => fetcher.TryFetchUnlikely(path, TrustDocument.MaximumSize, stop);
    }

    private bool Verifies => trust is { ForSummary: true };

    private async Task<FoundSummary?> Find(CancellationToken cancel)
    {
        (byte[]? bytes, byte[]? signature) = known is not null && !Verifies ? (known, null) : await Believed(cancel).ConfigureAwait(false);
        if (bytes is null)
            return null;
        try
        {
            return new FoundSummary(Summary.Parse(bytes), bytes, signature);
        }
        catch (MalformedException malformed)
        {
            throw new PullException(fetcher.UrlOf(Path), "a summary", malformed.Message, malformed);
        }
    }

    private async Task<(byte[]? Bytes, byte[]? Signature)> Believed(CancellationToken cancel)
    {
        (byte[]? oldBytes, Validators? oldSaid) = cache?.Load(signature: false) ?? default;
        (byte[]? oldSignature, Validators? oldSignatureSaid) = cache?.Load(signature: true) ?? default;
        Sent signature = default;
        if (Verifies || withSignature)
        {
            signature = await Fetch(SignaturePath, oldSignature, oldSignatureSaid, cancel).ConfigureAwait(false);
            // The signature that belongs to what is here is still the one there: so is the summary, unless what is here was damaged.
            if (Verifies && oldBytes is not null && oldSignature is not null && signature.Bytes is { } same && same.AsSpan().SequenceEqual(oldSignature))
            {
                if (IsBelieved(oldBytes, same))
                    return (oldBytes, same);
                if (Environment.GetEnvironmentVariable("OSTREE_REPO_TEST_ERROR")?.Contains("invalid-cache", StringComparison.Ordinal) == true)
                    throw new InterruptedException("OSTREE_REPO_TEST_ERROR_INVALID_CACHE specified");
                oldSaid = null;
            }
        }

        Sent summary = known is not null ? new Sent(known, null) : await Fetch(Path, oldBytes, oldSaid, cancel).ConfigureAwait(false);
        trust?.VerifySummary(fetcher.UrlOf(Path), summary.Bytes, signature.Bytes);
        if (cache is not null && summary.Bytes is not null)
        {
            cache.Save(signature: false, summary.Bytes, summary.Said);
            if (signature.Bytes is not null)
                cache.Save(signature: true, signature.Bytes, signature.Said);
        }

        return (summary.Bytes, signature.Bytes);
    }

    private bool IsBelieved(byte[] bytes, byte[] signature)
    {
        try
        {
            trust!.VerifySummary(fetcher.UrlOf(Path), bytes, signature);
            return true;
        }
        catch (RepositoryException unbelieved) when (unbelieved is SignatureException or TrustException)
        {
            return false; // fetched anew, and judged again
        }
    }

    private async Task<Sent> Fetch(string path, byte[]? old, Validators? said, CancellationToken cancel)
    {
        using Fetched? fetched = await fetcher.TryFetchIfChanged(path, ObjectStore.MaximumMetadataSize, old is null ? null : said, cancel).ConfigureAwait(false);
        return fetched is null ? default : fetched.IsUnchanged ? new Sent(old, null) : new Sent(fetched.Bytes.ToArray(), fetched.Validators);
    }

    private readonly record struct Sent(byte[]? Bytes, Validators? Said);
}
