using System.Globalization;
using System.Text;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>How many of whom.</summary>
/// <param name="Threshold">So many of them; 1 or more.</param>
/// <param name="Signers">Their names in the document's keys, each once.</param>
public sealed record TrustRule(int Threshold, IReadOnlyList<string> Signers);

/// <summary>Who is believed for what of a repository, and until when: <c>trust/VERSION.toml</c>.</summary>
/// <remarks>docs/decisions/0017-trust-that-outlives-a-key.md.</remarks>
public sealed record TrustDocument
{
    /// <summary>The most bytes that a document, or its signatures, may be.</summary>
    public const int MaximumSize = 64 * 1024;

    /// <summary>The most signatures of one thing that are looked at.</summary>
    internal const int MaximumSignatures = 64;

    /// <summary>What of the summary's metadata says which version was there when it was made; a <c>t</c>, most significant byte first.</summary>
    internal const string SummaryKey = "sbox.trust-version";

    /// <summary>Which repository it is of; the same in all versions, so that the documents of two that have the same owners are not taken for each other's.</summary>
    public required string Repository { get; init; }

    /// <summary>One more than that of the one before.</summary>
    public required long Version { get; init; }

    /// <summary>Until when it is believed; whole seconds, UTC.</summary>
    public required DateTimeOffset Expires { get; init; }

    /// <summary>The age from which on a summary is too old to be believed; whole seconds.</summary>
    public required TimeSpan SummaryAge { get; init; }

    /// <summary>All keys, by the names that the rules call them by; no key has two names.</summary>
    public required IReadOnlyDictionary<string, Ed25519PublicKey> Keys { get; init; }

    /// <summary>Who may change the document.</summary>
    public required TrustRule Document { get; init; }

    /// <summary>Who signs summaries.</summary>
    public required TrustRule Summary { get; init; }

    /// <summary>
    /// Who signs commits, by branch: a branch's name, or the beginning of one and <c>*</c>. Where there is none at all, commits are believed since the
    /// summary names them.
    /// </summary>
    public IReadOnlyDictionary<string, TrustRule> Commits { get; init; } = new SortedDictionary<string, TrustRule>(StringComparer.Ordinal);

    /// <summary>Reads a document that is the owner's own, or whose bytes were signed by who is believed: nobody else's are to reach this, but to be carried along unbelieved (<see cref="First"/>).</summary>
    /// <param name="path">Where it is, for errors.</param>
    /// <param name="bytes">The file; borrowed for the call.</param>
    /// <exception cref="TrustException">It says something that it may not, in whatever way.</exception>
    public static TrustDocument Parse(string path, ReadOnlySpan<byte> bytes) => new TrustReader(path).Read(bytes);

    /// <summary>The rule for a branch: that of its own name, else that of the longest beginning. Null where no rule fits.</summary>
    public TrustRule? RuleFor(string branch) => Commits
        .Where(rule => rule.Key == branch || (rule.Key.EndsWith('*') && branch.StartsWith(rule.Key[..^1], StringComparison.Ordinal)))
        .OrderByDescending(rule => rule.Key == branch).ThenByDescending(static rule => rule.Key.Length).Select(static rule => rule.Value).FirstOrDefault();

    /// <summary>Which signers of a rule signed some bytes. A key counts once, however often it signed.</summary>
    /// <param name="rule">One of this document's.</param>
    /// <param name="bytes">What was signed.</param>
    /// <param name="signatures">From anybody; <see cref="MaximumSignatures"/> of them are looked at.</param>
    public IReadOnlyList<string> WhoSigned(TrustRule rule, ReadOnlySpan<byte> bytes, IReadOnlyList<byte[]> signatures)
    {
        var signed = new List<string>();
        foreach (string name in rule.Signers)
        {
            foreach (byte[] signature in signatures.Take(MaximumSignatures))
            {
                if (!Keys[name].Verify(bytes, signature))
                    continue;
                signed.Add(name);
                break;
            }
        }

        return signed;
    }

    /// <summary>Asks for as many signatures as a rule does.</summary>
    /// <param name="subject">What should be signed, for the error.</param>
    /// <param name="rule">One of this document's.</param>
    /// <param name="bytes">What should be signed.</param>
    /// <param name="signatures">From anybody.</param>
    /// <exception cref="TrustException">There are fewer.</exception>
    public void Require(string subject, TrustRule rule, ReadOnlySpan<byte> bytes, IReadOnlyList<byte[]> signatures)
    {
        IReadOnlyList<string> signed = WhoSigned(rule, bytes, signatures);
        if (signed.Count >= rule.Threshold)
            return;
        throw new TrustException(
            subject, TrustProblem.TooFewSigned,
            $"document {Version} of '{Repository}' asks for {rule.Threshold} of {string.Join(", ", rule.Signers)}; {(signed.Count == 0 ? "none of them signed" : $"only {string.Join(", ", signed)} signed")}");
    }

    /// <summary>Reads a repository's first document, which nothing vouches for: it is one, and signed as it asks itself.</summary>
    /// <param name="path">Where it is, for errors.</param>
    /// <param name="bytes">The file; from anybody.</param>
    /// <param name="signatures">The file of its signatures; from anybody.</param>
    /// <exception cref="TrustException">It is none, or none that is signed so.</exception>
    /// <remarks>To be carried along alone. Nobody is believed by it before their owner says so.</remarks>
    internal static TrustDocument First(string path, ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> signatures)
    {
        TrustDocument first = Parse(path, bytes);
        if (first.Version != 1)
            throw new TrustException(path, TrustProblem.OutOfOrder, $"it is document {first.Version} of '{first.Repository}', where the first should be");
        first.Require(path, first.Document, bytes, SignaturesIn(signatures));
        return first;
    }

    /// <summary>Reads the document that follows this one: signed as this one asks and as it asks itself, of the same repository, and the very next version.</summary>
    /// <param name="path">Where it is, for errors.</param>
    /// <param name="bytes">The file; from anybody.</param>
    /// <param name="signatures">The file of its signatures; from anybody.</param>
    /// <exception cref="TrustException">It is none that follows.</exception>
    public TrustDocument Next(string path, ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> signatures)
    {
        IReadOnlyList<byte[]> made = SignaturesIn(signatures);
        Require(path, Document, bytes, made); // before a byte of it is read: no stranger's text is parsed
        TrustDocument next = Parse(path, bytes);
        if (next.Repository != Repository || next.Version != Version + 1)
            throw new TrustException(path, TrustProblem.OutOfOrder, $"it is document {next.Version} of '{next.Repository}', where document {Version + 1} of '{Repository}' should be");
        next.Require(path, next.Document, bytes, made);
        return next;
    }

    /// <summary>The signatures in a file of them, <c>N.sig</c>, in the format of <c>summary.sig</c>; none where it cannot be read.</summary>
    public static IReadOnlyList<byte[]> SignaturesIn(ReadOnlySpan<byte> file)
    {
        try
        {
            return CommitSignatures.Of(VariantDictionary.Parse(file));
        }
        catch (MalformedException)
        {
            return []; // what asks for a signature finds none, and says so
        }
    }

    /// <summary>A file of signatures with these.</summary>
    public static byte[] ToFile(IEnumerable<byte[]> signatures) => CommitSignatures.With(VariantDictionary.Empty, CommitSignatures.Key, [.. signatures]).ToBytes();

    /// <summary>The document's text. What reads it again finds the same document.</summary>
    /// <exception cref="TrustException">It says something that it may not.</exception>
    public byte[] ToBytes()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"repository = \"{Repository}\"\nversion = {Version}\nexpires = {Expires.UtcDateTime:yyyy-MM-ddTHH:mm:ssZ}\n");
        text.Append(CultureInfo.InvariantCulture, $"summary-age = {(long)SummaryAge.TotalSeconds}\n\n[keys]\n");
        foreach ((string name, Ed25519PublicKey key) in Keys.OrderBy(static each => each.Key, StringComparer.Ordinal))
            text.Append(CultureInfo.InvariantCulture, $"{name} = \"{key}\"\n");
        Write("document", Document);
        Write("summary", Summary);
        foreach ((string pattern, TrustRule rule) in Commits.OrderBy(static each => each.Key, StringComparer.Ordinal))
            Write($"commits.\"{pattern}\"", rule);
        byte[] bytes = Encoding.UTF8.GetBytes(text.ToString());
        Parse($"document {Version} of '{Repository}'", bytes);
        return bytes;

        void Write(string table, TrustRule rule) => text.Append(
            CultureInfo.InvariantCulture, $"\n[{table}]\nthreshold = {rule.Threshold}\nsigners = [{string.Join(", ", rule.Signers.Select(static name => $"\"{name}\""))}]\n");
    }
}
