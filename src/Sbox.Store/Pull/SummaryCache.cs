using System.Text;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Summaries of remotes and their signatures as they were last believed: <c>tmp/cache/summaries/REMOTE</c> and <c>REMOTE.sig</c>, with the
/// server's ETag in the xattr <c>user.etag</c> and its Last-Modified as the file's time, as libostree keeps them.
/// </summary>
internal sealed class SummaryCache : IDisposable
{
    private const string Summaries = "summaries";
    private const string ETag = "user.etag";
    private readonly Dir dir;
    private readonly string remote;

    private SummaryCache(Dir dir, string remote) => (this.dir, this.remote) = (dir, remote);

    /// <summary>The cache of a remote's summary; null where caching is turned off (<c>OSTREE_SKIP_CACHE</c>), or there is no remote.</summary>
    /// <param name="repository">Whose remote.</param>
    /// <param name="remote">Its name.</param>
    /// <param name="directory">Where, in place of the repository's <c>tmp/cache</c>.</param>
    public static SummaryCache? Open(Repository repository, string? remote, string? directory) =>
        Place(repository, remote, directory, Summaries) is { } place ? new SummaryCache(place, remote!) : null;

    /// <summary>Where something is kept of a remote; null where nothing is to be.</summary>
    internal static Dir? Place(Repository repository, string? remote, string? directory, string what)
    {
        if (remote is null || Environment.GetEnvironmentVariable("OSTREE_SKIP_CACHE") is not null)
            return null;
        if (directory is null)
        {
            repository.Dir.MakeDirs($"tmp/cache/{what}");
            return repository.Dir.OpenDir($"tmp/cache/{what}");
        }

        using var place = Dir.Open(directory);
        return place.MakeAndOpenDir(what);
    }

    /// <summary>Deletes what was kept of remotes that are no more.</summary>
    public static void Prune(Repository repository)
    {
        foreach (string kept in new[] { Summaries, "mirrors" })
            Prune(repository, $"tmp/cache/{kept}");
    }

    private static void Prune(Repository repository, string path)
    {
        if (!repository.Dir.Exists(path))
            return;
        using Dir dir = repository.Dir.OpenDir(path);
        IReadOnlyList<string> remotes = repository.RemoteNames();
        foreach (DirEntry entry in dir.Entries())
        {
            string name = entry.Name.EndsWith(".sig", StringComparison.Ordinal) ? entry.Name[..^4] : entry.Name;
            if (!remotes.Contains(name))
                dir.TryUnlink(entry.Name);
        }
    }

    /// <summary>What is kept, with what the server said of it; nulls where nothing is.</summary>
    public (byte[]? Bytes, Validators? Said) Load(bool signature)
    {
        string name = NameOf(signature);
        using Microsoft.Win32.SafeHandles.SafeFileHandle? file = dir.TryOpenFile(name); // once: another pull may put another in its place
        if (file is null)
            return (null, null);
        byte[] bytes = Linux.Files.ReadAll(file, dir.Of(name));
        string? tag = Xattrs.Read(file, dir.Of(name)).Where(static each => each.Name == ETag).Select(static each => Encoding.UTF8.GetString(each.Value)).FirstOrDefault();
        FileStat stat = Linux.Files.Stat(file, dir.Of(name));
        return (bytes, new Validators(tag, stat.ModifiedSeconds > 0 ? DateTimeOffset.FromUnixTimeSeconds(stat.ModifiedSeconds) : null));
    }

    /// <summary>Keeps a file that was believed, with what the server said of it; one that is there as it is stays.</summary>
    /// <remarks>Both in one step: a tag that another pull gave to other bytes would have a server say for ever that these are what it has.</remarks>
    public void Save(bool signature, byte[] bytes, Validators? said)
    {
        (byte[]? there, Validators? known) = Load(signature);
        bool isSo = there is not null && there.AsSpan().SequenceEqual(bytes) && (said?.ETag ?? known?.ETag) == known?.ETag && (said?.LastModified ?? known?.LastModified) == known?.LastModified;
        if (!isSo)
            Durable.Replace(dir, NameOf(signature), bytes, complete: file => Note(file, said));
    }

    public void Dispose() => dir.Dispose();

    private void Note(Microsoft.Win32.SafeHandles.SafeFileHandle file, Validators? said)
    {
        if (said?.LastModified is { } since)
            File.SetLastWriteTimeUtc(file, since.UtcDateTime);
        if (said?.ETag is not { } tag)
            return;
        try
        {
            Xattrs.Set(file, new Xattr(ETag, Encoding.UTF8.GetBytes(tag)), dir.Path);
        }
        catch (LinuxException refused) when (refused.Errno == Errno.EOPNOTSUPP)
        {
            return; // a file system without xattrs: its time has to do
        }
    }

    private string NameOf(bool signature) => signature ? $"{remote}.sig" : remote;
}
