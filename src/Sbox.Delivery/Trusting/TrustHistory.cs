using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Delivery;

/// <summary>One version of a trust document, as it lies with its publisher.</summary>
/// <param name="Document">What it says.</param>
/// <param name="Bytes">The file, which is what is signed.</param>
/// <param name="Signatures">Of whomever.</param>
public sealed record TrustVersion(TrustDocument Document, byte[] Bytes, IReadOnlyList<byte[]> Signatures);

/// <summary>How far one version has been signed, by one of the two documents that have a say in it.</summary>
/// <param name="By">The version that asks.</param>
/// <param name="Rule">How many of whom it asks for.</param>
/// <param name="Signed">Who signed.</param>
public sealed record TrustVote(long By, TrustRule Rule, IReadOnlyList<string> Signed)
{
    /// <summary>Whether they are enough.</summary>
    public bool IsEnough => Signed.Count >= Rule.Threshold;
}

/// <summary>A publisher's trust documents: a directory with <c>1.toml</c>, <c>1.sig</c>, <c>2.toml</c> ..., as they are published.</summary>
public sealed class TrustHistory
{
    private const string Ending = ".toml";
    private readonly List<TrustVersion> versions;

    private TrustHistory(string directory, List<TrustVersion> versions) => (Directory, this.versions) = (directory, versions);

    /// <summary>The directory.</summary>
    public string Directory { get; }

    /// <summary>All versions, the oldest first, none left out between two.</summary>
    public IReadOnlyList<TrustVersion> Versions => versions;

    /// <summary>The newest; signed by enough or not.</summary>
    public TrustVersion Newest => versions[^1];

    /// <summary>The newest that boxes believe by these signatures; null where not even the oldest is signed by enough.</summary>
    public TrustVersion? InForce => versions.TakeWhile(each => Votes(each).All(static vote => vote.IsEnough)).LastOrDefault();

    /// <summary>Reads a directory of documents.</summary>
    /// <exception cref="TrustHistoryException">There is none, or one is missing before another.</exception>
    /// <exception cref="TrustException">A file is no document, or is called otherwise than it says, or is of another repository than the one before.</exception>
    public static TrustHistory Read(string directory)
    {
        string path = Path.GetFullPath(directory);
        if (!System.IO.Directory.Exists(path))
            throw new TrustHistoryException(path, "there is no directory of trust documents");
        using Dir dir = Dir.Open(path);
        var versions = new List<TrustVersion>();
        foreach (long number in dir.EntriesEnding(Ending).Select(static entry => NumberOf(entry.Name)).OfType<long>().Order())
        {
            TrustVersion version = Load(dir, number);
            if (version.Document.Version != number)
                throw new TrustException(dir.Of(NameOf(number)), TrustProblem.OutOfOrder, $"it says that it is version {version.Document.Version}");
            if (versions.Count != number - 1)
                throw new TrustHistoryException(path, $"{NameOf(versions.Count + 1)} is missing");
            // Every box would refuse it as another repository's, however many signed, and could not go on.
            if (versions.Count > 0 && version.Document.Repository != versions[0].Document.Repository)
                throw new TrustException(dir.Of(NameOf(number)), TrustProblem.OutOfOrder, $"it is of the repository '{version.Document.Repository}', and {NameOf(1)} of '{versions[0].Document.Repository}': that is the same in all versions");
            versions.Add(version);
        }

        return versions.Count > 0 ? new TrustHistory(path, versions) : throw new TrustHistoryException(path, "there is no trust document: no 1.toml");
    }

    /// <summary>Reads the documents of a directory where there are some; null where there are none.</summary>
    public static TrustHistory? TryRead(string directory) =>
        System.IO.Directory.Exists(directory) && System.IO.Directory.EnumerateFiles(directory, "*" + Ending).Any(static file => NumberOf(Path.GetFileName(file)) is not null) ? Read(directory) : null;

    /// <summary>Begins a directory with its first document.</summary>
    /// <exception cref="TrustHistoryException">There are some already.</exception>
    /// <exception cref="TrustException">The document says something that it may not.</exception>
    public static TrustHistory Begin(string directory, TrustDocument first)
    {
        if (TryRead(directory) is { } there)
            throw new TrustHistoryException(there.Directory, $"there is document {there.Newest.Document.Version} already");
        first.ToBytes(); // what may not be said leaves no directory behind
        System.IO.Directory.CreateDirectory(directory);
        var history = new TrustHistory(Path.GetFullPath(directory), []);
        history.Write(first);
        return history;
    }

    /// <summary>What the documents that have a say in a version say: the one before it, and it itself.</summary>
    public IReadOnlyList<TrustVote> Votes(TrustVersion version)
    {
        int at = versions.IndexOf(version);
        return [.. (at > 0 ? [versions[at - 1].Document, version.Document] : (TrustDocument[])[version.Document]).Select(document =>
            new TrustVote(document.Version, document.Document, document.WhoSigned(document.Document, version.Bytes, version.Signatures)))];
    }

    /// <summary>Adds the next version, which nobody has signed yet.</summary>
    /// <param name="change">Makes it of the newest; its version is counted here.</param>
    /// <exception cref="TrustHistoryException">The newest itself is not signed by enough.</exception>
    /// <exception cref="TrustException">It would say something that it may not.</exception>
    public TrustVersion Add(Func<TrustDocument, TrustDocument> change)
    {
        if (InForce != Newest)
            throw new TrustHistoryException(Directory, $"document {Newest.Document.Version} is not signed by enough yet, and no box would come to one after it");
        return Write(change(Newest.Document) with { Version = Newest.Document.Version + 1 });
    }

    /// <summary>Adds signatures to a version, those alone that its documents ask for; once.</summary>
    /// <param name="version">It.</param>
    /// <param name="signatures">From anybody.</param>
    /// <returns>How many were new.</returns>
    public int AddSignatures(TrustVersion version, IEnumerable<byte[]> signatures)
    {
        int at = versions.IndexOf(version);
        Ed25519PublicKey[] asked = [.. (at > 0 ? [versions[at - 1].Document, version.Document] : (TrustDocument[])[version.Document]).SelectMany(static each => each.Document.Signers.Select(name => each.Keys[name]))];
        byte[][] added = [.. signatures.Where(signature => asked.Any(key => key.Verify(version.Bytes, signature)) && !version.Signatures.Any(there => there.AsSpan().SequenceEqual(signature)))];
        if (added.Length == 0)
            return 0;
        versions[at] = version with { Signatures = [.. version.Signatures, .. added] };
        using Dir dir = Dir.Open(Directory);
        Durable.Replace(dir, SignaturesOf(version.Document.Version), TrustDocument.ToFile(versions[at].Signatures));
        return added.Length;
    }

    private TrustVersion Write(TrustDocument document)
    {
        byte[] bytes = document.ToBytes();
        using Dir dir = Dir.Open(Directory);
        if (dir.Exists(NameOf(document.Version)))
            throw new TrustHistoryException(Directory, $"{NameOf(document.Version)} is there already");
        dir.TryUnlink(SignaturesOf(document.Version)); // of whatever had its name
        Durable.Replace(dir, NameOf(document.Version), bytes);
        versions.Add(new TrustVersion(document, bytes, []));
        return versions[^1];
    }

    private static TrustVersion Load(Dir dir, long number)
    {
        byte[] bytes = ReadAtMost(dir, NameOf(number)) ?? [];
        return new TrustVersion(TrustDocument.Parse(dir.Of(NameOf(number)), bytes), bytes, TrustDocument.SignaturesIn(ReadAtMost(dir, SignaturesOf(number)) ?? []));
    }

    private static byte[]? ReadAtMost(Dir dir, string name)
    {
        using SafeFileHandle? file = dir.TryOpenFile(name);
        return file is null ? null : Files.ReadAtMost(file, dir.Of(name), TrustDocument.MaximumSize)
            ?? throw new TrustException(dir.Of(name), TrustProblem.Malformed, $"more than {TrustDocument.MaximumSize} bytes");
    }

    private static long? NumberOf(string name) =>
        long.TryParse(name[..^Ending.Length], NumberStyles.None, CultureInfo.InvariantCulture, out long number) && NameOf(number) == name ? number : null;

    private static string NameOf(long version) => Path.GetFileName(TrustFiles.Document(version));

    private static string SignaturesOf(long version) => Path.GetFileName(TrustFiles.Signatures(version));
}
