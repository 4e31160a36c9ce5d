using System.Globalization;
using Microsoft.AspNetCore.Http;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Delivery;

/// <summary>A file of a repository that a client may have.</summary>
/// <param name="Handle">The open file; whoever answers closes it.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Tag">Other for every file that was ever by this path, quoted.</param>
/// <param name="Modified">When it was written, in whole seconds.</param>
/// <param name="Lifetime">How long it stays what it is.</param>
internal sealed record ServedFile(SafeFileHandle Handle, long Size, string Tag, DateTimeOffset Modified, Lifetime Lifetime)
{
    private static readonly string[] Files = ["config", "summary", "summary.sig", "summary.idx"];
    private static readonly string[] Directories = ["objects", "deltas", "delta-indexes", "refs", "summaries", TrustFiles.Directory];

    /// <summary>Opens what a path names; null where there is no such file that a reader of a repository needs.</summary>
    /// <param name="root">The repository's directory.</param>
    /// <param name="path">Relative to it, from anybody.</param>
    /// <exception cref="LinuxException">There is one, and it cannot be opened; or the name is too long for any.</exception>
    public static ServedFile? TryOpen(Dir root, string path)
    {
        string[] names = path.Split('/');
        bool known = names.Length == 1 ? Files.Contains(path) : Directories.Contains(names[0]);
        // No name that begins with a dot is a repository's: neither is a way out of it.
        if (!known || path.Contains('\0', StringComparison.Ordinal) || names.Any(static name => name.Length == 0 || name[0] == '.'))
            return null;
        using Dir? holder = root.TryOpenParent(path, out string last);
        if (holder is null)
            return null;
        SafeFileHandle? file = holder.TryOpenFile(last, out Errno errno);
        if (file is null)
            return errno is Errno.ENOENT or Errno.ELOOP or Errno.ENOTDIR or Errno.ENXIO ? null : throw new LinuxException(errno, "openat", holder.Of(last));
        FileStat stat = Linux.Files.Stat(file, path);
        if (stat.IsRegular)
            return new ServedFile(file, stat.Size, TagOf(stat), DateTimeOffset.FromUnixTimeSeconds(stat.ModifiedSeconds), LifetimeOf(names));
        file.Dispose();
        return null;
    }

    /// <summary>Whether a client that has a copy has this one. RFC 9110, section 13.</summary>
    public bool IsKnownTo(IHeaderDictionary request)
    {
        if (request.IfNoneMatch is { Count: > 0 } tags)
            return $"{tags}" is var said && (said == "*" || said.Split(',').Any(tag => Strong(tag) == Tag));
        return TryTime($"{request.IfModifiedSince}", out DateTimeOffset time) && Modified <= time;
    }

    /// <summary>Whether a stretch that is asked for belongs to this very file; where it does not, all of it is the answer.</summary>
    public bool Continues(IHeaderDictionary request) => $"{request.IfRange}" is var what
        && (what.Length == 0 || what == Tag || (TryTime(what, out DateTimeOffset time) && time == Modified));

    /// <summary>Says of it in an answer what a client may keep it by.</summary>
    public void Describe(IHeaderDictionary answer)
    {
        answer.ETag = Tag;
        answer.LastModified = Modified.ToString("r", CultureInfo.InvariantCulture);
        answer.AcceptRanges = "bytes";
        answer.CacheControl = Lifetime == Lifetime.Immutable ? BucketPlace.ForEver : "no-cache";
    }

    // Replaced by a rename it is another inode; written in place, as no repository does, another time.
    private static string TagOf(FileStat stat) => $"\"{stat.Inode:x}-{stat.Size:x}-{stat.ModifiedSeconds:x}.{stat.ModifiedNanoseconds:x}\"";

    private static Lifetime LifetimeOf(string[] names) =>
        names[0] is "objects" or "deltas" && !names[^1].EndsWith(".commitmeta", StringComparison.Ordinal) ? Lifetime.Immutable : Lifetime.Mutable;

    private static string Strong(string tag) => tag.Trim() is ['W', '/', .. var rest] ? rest : tag.Trim();

    private static bool TryTime(string text, out DateTimeOffset time) =>
        DateTimeOffset.TryParseExact(text, "r", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out time);
}
