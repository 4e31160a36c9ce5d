using System.Globalization;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>A remote that has a trust document: who is believed for what it offers, for the length of one pull.</summary>
/// <remarks>docs/decisions/0017-trust-that-outlives-a-key.md.</remarks>
internal sealed class TrustedRemote
{
    /// <summary>The most documents that one pull goes on by: more than a box of years ago needs, and an end.</summary>
    public const int MostSteps = 64;

    private static readonly TimeSpan ClocksDiffer = TimeSpan.FromDays(1), Soon = TimeSpan.FromDays(30);
    private readonly TrustState state;
    private readonly TimeProvider clock;
    private readonly List<string> notes = [];
    private byte[] bytes; // of the document that is believed
    private DateTimeOffset? newest, taken;
    private string? passedOver; // why what lies where the next document should is none yet

    private TrustedRemote(TrustState state, TimeProvider clock, byte[] bytes, string path) =>
        (this.state, this.clock, this.bytes, Document, newest) = (state, clock, bytes, TrustDocument.Parse(path, bytes), state.NewestSummary());

    /// <summary>Reads files of the remote, by their paths in it.</summary>
    /// <param name="path">The path.</param>
    /// <param name="cancel">Ends it.</param>
    /// <returns>The bytes, <see cref="TrustDocument.MaximumSize"/> at most; null where there is no such file.</returns>
    public delegate Task<byte[]?> Fetch(string path, CancellationToken cancel);

    /// <summary>The document that is believed now.</summary>
    public TrustDocument Document { get; private set; }

    /// <summary>Whether commits need signatures of their own.</summary>
    public bool ForCommits => Document.Commits.Count > 0;

    /// <summary>What a person should know, a line each.</summary>
    public IReadOnlyList<string> Notes => passedOver is null ? notes : [.. notes, $"Trust: {passedOver}: it is passed over, and document {Document.Version} goes on to be believed"];

    /// <summary>A remote's document; null where it has none.</summary>
    /// <exception cref="TrustException">What is kept of it cannot be read: nothing is believed then.</exception>
    public static TrustedRemote? Of(Repository repository, string remote, TimeProvider clock)
    {
        if (!TrustState.CanKeep(remote))
            return null;
        var state = new TrustState(repository, remote);
        return state.Load() is { } kept ? new TrustedRemote(state, clock, kept.Bytes, kept.Path) : null;
    }

    /// <summary>Goes from the document that is believed to the next, and on, as far as the remote has them. Each is kept as soon as it is believed.</summary>
    /// <param name="fetch">Reads what the remote has.</param>
    /// <param name="shown">A path of the remote's as people are shown it.</param>
    /// <param name="cancel">Ends it.</param>
    /// <returns>Whether there was a newer one.</returns>
    /// <exception cref="TrustException">What follows is signed as it must be, and no document, or not the very next one; or too many follow.</exception>
    /// <remarks>
    /// What too few signed is none yet. A draft may lie in a repository that is served as it is, a server may answer each question with a page of its own, and a mirror may
    /// put anything there: none of them could do less than leave the file away, and that a document is withheld is known from the summary.
    /// </remarks>
    public async Task<bool> Follow(Fetch fetch, Func<string, string> shown, CancellationToken cancel)
    {
        long from = Document.Version;
        passedOver = null;
        for (int steps = 0; ; steps++)
        {
            string path = TrustFiles.Document(Document.Version + 1), beside = TrustFiles.Signatures(Document.Version + 1);
            if (await fetch(path, cancel).ConfigureAwait(false) is not { } offered)
                break;
            if (steps == MostSteps)
                throw new TrustException(shown(path), TrustProblem.TooMany, $"{MostSteps} documents were followed, from {from} to {Document.Version}, and there are more");
            byte[] signatures = await fetch(beside, cancel).ConfigureAwait(false) ?? [];
            if (TryNext(shown(path), offered, signatures) is not { } next)
                break;
            GoOn(next, offered);
        }

        if (Document.Version > from)
            notes.Add($"Trust: document {Document.Version} of '{Document.Repository}' is believed now, after {from}");
        return Document.Version > from;
    }

    /// <summary>Asks that a summary be signed as the document says, and as young, and no older than the newest that was taken.</summary>
    /// <param name="subject">Where it came from.</param>
    /// <param name="bytes">The summary; null where there is none.</param>
    /// <param name="signature">The file of its signatures; null where there is none.</param>
    /// <exception cref="TrustException">It is not to be believed.</exception>
    public void VerifySummary(string subject, byte[]? bytes, byte[]? signature)
    {
        if (bytes is null)
            throw new TrustException(subject, TrustProblem.TooFewSigned, $"there is no summary, and document {Document.Version} of '{Document.Repository}' asks for one that is signed");
        Document.Require(subject, Document.Summary, bytes, TrustDocument.SignaturesIn(signature));
        Summary summary = ParsedOf(subject, bytes);
        if (summary.Modified is not { } made)
            throw new TrustException(subject, TrustProblem.Stale, "it does not say when it was made, so nobody can tell how old it is");
        if (summary.TrustVersion is { } known && known > Document.Version)
            throw new TrustException(subject, TrustProblem.Withheld, $"it knows document {known} of '{Document.Repository}', and there is none after {Document.Version} to be had{(passedOver is null ? "" : $" ({passedOver})")}");
        if (newest is { } before && made < before)
            throw new TrustException(subject, TrustProblem.RolledBack, $"it is of {Shown(made)}, and one of {Shown(before)} was taken before");
        VerifyTimes(subject, made);
        taken = made;
    }

    /// <summary>Asks, before refs are set, that no other pull has taken a newer summary since this one was verified.</summary>
    /// <param name="subject">Where it came from.</param>
    /// <exception cref="TrustException">One has.</exception>
    public void RequireNewest(string subject)
    {
        if (taken is { } made && state.NewestSummary() is { } meanwhile && made < meanwhile)
            throw new TrustException(subject, TrustProblem.RolledBack, $"it is of {Shown(made)}, and another pull has taken one of {Shown(meanwhile)} meanwhile");
    }

    /// <summary>Asks that a commit be signed as the document says.</summary>
    /// <param name="checksum">Its name.</param>
    /// <param name="bytes">The commit object.</param>
    /// <param name="detached">What lies beside it; null where there is nothing.</param>
    /// <param name="names">As what it was asked for: branches; or its checksum, where it counts as what it says it is.</param>
    /// <exception cref="TrustException">Too few signed it, or nobody may.</exception>
    public void VerifyCommit(Checksum checksum, ReadOnlySpan<byte> bytes, VariantDictionary? detached, IEnumerable<string> names)
    {
        if (!ForCommits)
            return;
        IReadOnlyList<byte[]> signatures = CommitSignatures.Of(detached);
        foreach (string name in names)
        {
            if (Checksum.TryParse(name, out _))
            {
                foreach (TrustRule rule in RulesFor(Commit.Parse(bytes)))
                    Document.Require($"commit {checksum}", rule, bytes, signatures);
                continue;
            }

            TrustRule asked = Document.RuleFor(name)
                ?? throw new TrustException($"commit {checksum}", TrustProblem.TooFewSigned, $"document {Document.Version} of '{Document.Repository}' says of nobody that they may sign '{name}'");
            Document.Require($"commit {checksum} of '{name}'", asked, bytes, signatures);
        }
    }

    /// <summary>Keeps the time of the summary that was verified: what it led to was taken.</summary>
    public void Took()
    {
        if (taken is { } time && (newest is null || time > newest))
            state.Keep(bytes, time);
    }

    // By the next one; or by what the owner, or another pull, has put there since this one looked: a slow pull takes back nothing of that.
    private void GoOn(TrustDocument next, byte[] offered)
    {
        bool forgets = SignersOf(Document).Except(SignersOf(next)).Any();
        ((byte[] Bytes, string Path)? now, bool isKept) = state.Keep(bytes, offered, forgets);
        if (now is { } other && !other.Bytes.AsSpan().SequenceEqual(offered))
            (Document, bytes, newest) = (TrustDocument.Parse(other.Path, other.Bytes), other.Bytes, state.NewestSummary());
        else if (now is not null && !isKept)
            (Document, bytes, newest) = (next, offered, state.NewestSummary()); // another pull kept the same, and may have taken a summary since
        else
            (Document, bytes, newest) = (next, offered, forgets ? null : newest); // also where the owner ended it meanwhile: this pull, begun before, asks for no less, and nothing is kept
    }

    // Null where too few signed, the old or the new.
    private TrustDocument? TryNext(string path, byte[] bytes, byte[] signatures)
    {
        try
        {
            return Document.Next(path, bytes, signatures);
        }
        catch (TrustException unsigned) when (unsigned.Problem == TrustProblem.TooFewSigned)
        {
            passedOver = unsigned.Message;
            return null;
        }
    }

    // By its checksum alone, a commit is what it says it is bound to; one that is bound to nothing could be anything.
    private IEnumerable<TrustRule> RulesFor(Commit commit)
    {
        IReadOnlyList<string> bound = commit.Metadata[Commit.RefBinding] is { Type.Signature: "as" } names ? [.. names.Items.Select(static item => item.Text)] : [];
        return bound.Select(Document.RuleFor).OfType<TrustRule>().ToArray() is { Length: > 0 } rules ? rules : Document.Commits.Values;
    }

    // Both summaries were signed by who is believed: it is no earlier than they say, whatever this machine's clock does. How much later it is, that clock alone knows.
    private void VerifyTimes(string subject, DateTimeOffset made)
    {
        DateTimeOffset clockSays = clock.GetUtcNow();
        DateTimeOffset now = newest is { } before && before > clockSays ? before : clockSays;
        bool isKnown = newest is not { } seen || clockSays >= seen - ClocksDiffer;
        if (now >= Document.Expires || (!isKnown && made >= Document.Expires))
            throw new TrustException(subject, TrustProblem.Expired, $"document {Document.Version} of '{Document.Repository}' expired on {Shown(Document.Expires)}, and nobody has renewed it");
        if (!isKnown)
        {
            Note($"Trust: this machine's clock says {Shown(clockSays)}, which is before the last summary of {Shown(now)}: by then, document {Document.Version} had not expired; whether it has since, and whether the summary is too old, is not known");
            return;
        }

        if (made > clockSays + ClocksDiffer)
            throw new TrustException(subject, TrustProblem.FromTheFuture, $"it is of {Shown(made)}, and this machine's clock says {Shown(clockSays)}");
        if (now - made > Document.SummaryAge)
            throw new TrustException(subject, TrustProblem.Stale, $"it is of {Shown(made)}, and document {Document.Version} of '{Document.Repository}' believes none that is older than {Shown(Document.SummaryAge)}");
        if (Document.Expires - now < Soon)
            Note($"Trust: document {Document.Version} of '{Document.Repository}' expires on {Shown(Document.Expires)}; after that nothing is taken from there until its owners renew it");
    }

    private void Note(string text)
    {
        if (!notes.Contains(text))
            notes.Add(text);
    }

    private static Summary ParsedOf(string subject, byte[] bytes)
    {
        try
        {
            return Summary.Parse(bytes);
        }
        catch (MalformedException malformed)
        {
            throw new TrustException(subject, TrustProblem.Malformed, $"it is signed, and no summary: {malformed.Message}");
        }
    }

    private static IEnumerable<string> SignersOf(TrustDocument document) => document.Summary.Signers.Select(name => document.Keys[name].ToString());

    private static string Shown(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss 'UTC'", CultureInfo.InvariantCulture);

    private static string Shown(TimeSpan age) => age.TotalHours < 48 ? $"{age.TotalHours:0.#} hours" : $"{age.TotalDays:0.#} days";
}
