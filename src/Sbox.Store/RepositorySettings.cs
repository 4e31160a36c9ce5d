using System.Globalization;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Something that not every machine can do.</summary>
internal enum Wish
{
    /// <summary>Not asked for.</summary>
    No,
    /// <summary>Done where it can be.</summary>
    WherePossible,
    /// <summary>Refused where it cannot be.</summary>
    Required,
}

/// <summary>What a repository's <c>config</c> says about writing, with libostree's defaults.</summary>
/// <param name="Fsync"><c>core.fsync</c>: whether anything is made durable at all.</param>
/// <param name="LockTimeout"><c>core.lock-timeout-secs</c>: how long others are waited for; null waits for ever.</param>
/// <param name="Locking"><c>core.locking</c>.</param>
/// <param name="ZlibLevel">
/// <c>archive.zlib-level</c>, 1 to 9. Where it is not said: 5 of zlib-ng's levels, which makes 1 part in 700 more of a Debian tree than its 6
/// and is an eighth faster. libostree's is 6 of zlib's.
/// </param>
/// <param name="MinFreePercent"><c>core.min-free-space-percent</c>; 0 where a size is given.</param>
/// <param name="MinFreeBytes"><c>core.min-free-space-size</c>.</param>
/// <param name="TmpExpiry"><c>core.tmp-expiry-secs</c>: when leftovers in <c>tmp/</c> may go.</param>
/// <param name="FsVerity"><c>ex-integrity.fsverity</c>: whether new file objects are sealed as they are published.</param>
/// <remarks>After ostree.repo-config(5).</remarks>
internal sealed record RepositorySettings(
    bool Fsync, TimeSpan? LockTimeout, bool Locking, int ZlibLevel, int MinFreePercent, long MinFreeBytes, TimeSpan TmpExpiry, Wish FsVerity)
{
    private const string Core = "core";

    public static RepositorySettings From(KeyFile config)
    {
        long size = ParseSize(config.GetString(Core, "min-free-space-size"));
        bool neither = config.Get(Core, "min-free-space-size") is null && config.Get(Core, "min-free-space-percent") is null;
        int percent = neither ? 3 : size > 0 ? 0 : (int)Number(config, Core, "min-free-space-percent", 0, 0, 99);
        long timeout = Number(config, Core, "lock-timeout-secs", 300, -1, int.MaxValue);
        return new RepositorySettings(
            Fsync: config.GetBoolean(Core, "fsync", otherwise: true),
            LockTimeout: timeout < 0 ? null : TimeSpan.FromSeconds(timeout),
            Locking: config.GetBoolean(Core, "locking", otherwise: true),
            ZlibLevel: (int)Number(config, "archive", "zlib-level", 5, 1, 9),
            MinFreePercent: percent,
            MinFreeBytes: size,
            TmpExpiry: TimeSpan.FromSeconds(Number(config, Core, "tmp-expiry-secs", 86400, 0, int.MaxValue)),
            FsVerity: ParseWish(config));
    }

    /// <summary>Bytes that may be written before the reserve is touched.</summary>
    public long Writable(DiskSpace space)
    {
        long reserve = MinFreeBytes > 0 ? MinFreeBytes : (long)(space.TotalBytes * (MinFreePercent / 100.0));
        long free = Environment.IsPrivilegedProcess ? space.FreeBytes : space.AvailableBytes;
        return Math.Max(0, free - reserve);
    }

    private static long Number(KeyFile config, string group, string key, long otherwise, long least, long most)
    {
        if (config.GetString(group, key) is not { } text)
            return otherwise;
        return long.TryParse(text.Trim(), CultureInfo.InvariantCulture, out long number)
            ? Math.Clamp(number, least, most)
            : throw new MalformedException("repository config", $"[{group}] {key}", "a number", $"'{text}'");
    }

    private static Wish ParseWish(KeyFile config) => config.GetString("ex-integrity", "fsverity")?.Trim() switch
    {
        null or "no" or "false" or "0" => Wish.No,
        "maybe" => Wish.WherePossible,
        "yes" or "true" or "1" => Wish.Required,
        var text => throw new MalformedException("repository config", "[ex-integrity] fsverity", "yes, no or maybe", $"'{text}'"),
    };

    // "500MB": a number and one of MB, GB, TB, as ostree.repo-config(5) has it.
    private static long ParseSize(string? text)
    {
        if (text is null)
            return 0;
        int shift = text.Length < 3 ? -1 : text[^2..] switch { "MB" => 20, "GB" => 30, "TB" => 40, _ => -1 };
        return shift >= 0 && long.TryParse(text[..^2], NumberStyles.None, CultureInfo.InvariantCulture, out long number) && number <= long.MaxValue >> shift
            ? number << shift
            : throw new MalformedException("repository config", "[core] min-free-space-size", "a number and MB, GB or TB", $"'{text}'");
    }
}
