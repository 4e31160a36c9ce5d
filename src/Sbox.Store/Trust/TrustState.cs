using System.Globalization;
using System.Text;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// What a repository believes of a remote: <c>state/trust/REMOTE.toml</c>, the document, and <c>state/trust/REMOTE.seen</c>, the time of the newest
/// summary that was taken. Neither goes back but at the owner's word, whoever else writes them at the same moment; each is there as a whole after any cut.
/// </summary>
internal sealed class TrustState
{
    private const string Directory = "state/trust", TimeFormat = "yyyy-MM-ddTHH:mm:ssZ";
    private const uint OwnersAlone = 0x180 /* 0600 */, Others = 0x3F /* 0077 */;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20), Patience = TimeSpan.FromSeconds(10);

    private readonly Repository repository;
    private readonly string remote;

    /// <param name="repository">Whose remote.</param>
    /// <param name="remote">Its name.</param>
    public TrustState(Repository repository, string remote)
    {
        if (remote.Length == 0 || remote[0] == '.' || remote.Contains('/', StringComparison.Ordinal))
            throw new TrustException($"remote '{remote}'", TrustProblem.Malformed, "no file can be called as it is, so nothing can be kept of whom it is believed by");
        (this.repository, this.remote) = (repository, remote);
    }

    /// <summary>Whether a remote of that name can have a document at all.</summary>
    public static bool CanKeep(string remote) => remote.Length > 0 && remote[0] != '.' && !remote.Contains('/', StringComparison.Ordinal);

    /// <summary>Where the document is, or would be.</summary>
    public string Path => repository.Dir.Of($"{Directory}/{remote}.toml");

    /// <summary>The document's bytes: what is kept here, else in a parent, else what the machine's tree brought; null where there is none.</summary>
    public (byte[] Bytes, string Path)? Load()
    {
        foreach (Repository each in repository.WithParents())
        {
            if (Read(each, $"{remote}.toml") is { } kept)
                return (kept, each.Dir.Of($"{Directory}/{remote}.toml"));
        }

        // As the keys that GPG believes for the machine, of the machine's own repository alone: another may have a remote of that name too.
        string brought = $"{TrustedDirectory}/{remote}.toml";
        return repository.IsOfMachine && File.Exists(brought) ? (File.ReadAllBytes(brought), brought) : null;
    }

    /// <summary>When the newest summary was made that was taken from the remote; null where none was.</summary>
    /// <exception cref="TrustException">What is kept of it cannot be read.</exception>
    public DateTimeOffset? NewestSummary()
    {
        if (repository.WithParents().Select(each => Read(each, $"{remote}.seen")).FirstOrDefault(static found => found is not null) is not { } bytes)
            return null;
        return DateTimeOffset.TryParseExact(Encoding.ASCII.GetString(bytes).Trim(), TimeFormat, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset time)
            ? time
            : throw new TrustException(repository.Dir.Of($"{Directory}/{remote}.seen"), TrustProblem.Malformed, "expected the time of the newest summary, found something else");
    }

    /// <summary>Keeps a document in place of the one that it follows, if that is still the one that is believed.</summary>
    /// <param name="before">The one that it follows, as it was loaded.</param>
    /// <param name="bytes">As it is signed.</param>
    /// <param name="forgetsSummary">A summary that was taken before says nothing any more: one who signed it is believed no longer, and may have signed a time far ahead.</param>
    /// <returns>What is believed from now on: the document; or what others have put there meanwhile, the owner or another pull. Null where the owner ended it. And whether it was kept now.</returns>
    public ((byte[] Bytes, string Path)? Now, bool IsKept) Keep(ReadOnlySpan<byte> before, byte[] bytes, bool forgetsSummary)
    {
        using Dir dir = Open();
        using FileLock held = Lock(dir);
        if (Load() is not { } there || !there.Bytes.AsSpan().SequenceEqual(before))
            return (Load(), false);
        // In this order: after a cut between the two, the next pull finds the document again, and forgets again.
        if (forgetsSummary)
            dir.TryUnlink($"{remote}.seen");
        Durable.Replace(dir, $"{remote}.toml", bytes);
        return ((bytes, Path), true);
    }

    /// <summary>Begins with a document, whatever is kept.</summary>
    public void Begin(ReadOnlySpan<byte> bytes)
    {
        using Dir dir = Open();
        using FileLock held = Lock(dir);
        dir.TryUnlink($"{remote}.seen");
        Durable.Replace(dir, $"{remote}.toml", bytes);
    }

    /// <summary>Keeps the time of a summary that was taken, unless a newer one was taken by now, or another document is believed than it was judged by.</summary>
    /// <param name="judge">That document, as it was loaded.</param>
    /// <param name="summary">When it was made.</param>
    public void Keep(ReadOnlySpan<byte> judge, DateTimeOffset summary)
    {
        using Dir dir = Open();
        using FileLock held = Lock(dir);
        if (Load() is not { } there || !there.Bytes.AsSpan().SequenceEqual(judge))
            return; // whoever signed it may be believed no longer, and may have signed a time far ahead
        if (NewestSummary() is not { } newest || newest < summary)
            Durable.Replace(dir, $"{remote}.seen", Encoding.ASCII.GetBytes(summary.UtcDateTime.ToString(TimeFormat, CultureInfo.InvariantCulture) + "\n"));
    }

    /// <summary>Deletes all that is kept.</summary>
    /// <returns>Whether there was a document.</returns>
    public bool Forget()
    {
        if (!repository.Dir.Exists(Directory))
            return false;
        using Dir dir = Open();
        using FileLock held = Lock(dir); // whose file stays: another may wait for it
        dir.TryUnlink($"{remote}.seen");
        return dir.TryUnlink($"{remote}.toml");
    }

    /// <summary>Where a tree brings documents for the machine that it runs on.</summary>
    public const string TrustedDirectory = "/usr/lib/sbox/trust";

    private static byte[]? Read(Repository repository, string name)
    {
        using Dir? dir = repository.Dir.TryOpenDir(Directory);
        return dir?.TryReadAll(name);
    }

    private Dir Open() => repository.Dir.MakeAndOpenDir(Directory);

    // Two pulls at once: for the moment of the write alone. Whoever may read a file may lock it, and then no pull could write: it is its owner's alone.
    private FileLock Lock(Dir dir)
    {
        if (dir.TryStat($"{remote}.lock") is { } there && (there.Permissions & Others) != 0)
            Close(dir);
        for (TimeSpan waited = TimeSpan.Zero; ; waited += Pause)
        {
            if (FileLock.TryTake(dir, $"{remote}.lock", mode: OwnersAlone) is { } held)
                return held;
            if (waited >= Patience)
                throw new RepositoryBusyException(dir.Of($"{remote}.lock"), waited);
            Thread.Sleep(Pause);
        }
    }

    private void Close(Dir dir)
    {
        try
        {
            dir.ChangeOwnMode($"{remote}.lock", OwnersAlone);
        }
        catch (LinuxException foreign) when (foreign.Errno == Errno.EPERM)
        {
            // Another's, in a repository of several: whether it can be locked is seen next.
        }
    }
}
