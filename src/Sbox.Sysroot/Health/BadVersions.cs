using System.Globalization;
using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A version that did not come up, and is not tried again by itself.</summary>
/// <param name="Commit">Its commit.</param>
/// <param name="Time">When that was noticed.</param>
/// <param name="Reason">What was seen, in words.</param>
public sealed record BadVersion(Checksum Commit, DateTimeOffset Time, string Reason);

/// <summary>The versions that a box went back from by itself: <c>/var/lib/sbox/bad-versions</c>, one a line, the commit, the time, the reason.</summary>
public static class BadVersions
{
    private const string Name = "bad-versions";

    /// <summary>Reads a stateroot's; lines that cannot be read are passed over.</summary>
    public static IReadOnlyList<BadVersion> Read(OstreeSysroot sysroot, string os)
    {
        string text = sysroot.Root.TryReadAll($"{Layout.Stateroot(os)}/var/lib/sbox/{Name}") is { } bytes ? Encoding.UTF8.GetString(bytes) : "";
        return [.. text.Split('\n').Select(Parse).OfType<BadVersion>()];
    }

    /// <summary>Remembers one; a second time changes nothing.</summary>
    /// <returns>Whether it is new.</returns>
    public static bool Add(OstreeSysroot sysroot, string os, Checksum commit, string reason)
    {
        IReadOnlyList<BadVersion> known = Read(sysroot, os);
        if (known.Any(each => each.Commit == commit))
            return false;
        Write(sysroot, os, [.. known, new BadVersion(commit, sysroot.Options.Clock.GetUtcNow(), reason.ReplaceLineEndings(" "))]);
        return true;
    }

    /// <summary>Forgets one: its owner wants it tried again, or it came up after all.</summary>
    public static void Remove(OstreeSysroot sysroot, string os, Checksum commit)
    {
        IReadOnlyList<BadVersion> known = Read(sysroot, os);
        if (known.Any(each => each.Commit == commit))
            Write(sysroot, os, [.. known.Where(each => each.Commit != commit)]);
    }

    private static void Write(OstreeSysroot sysroot, string os, IReadOnlyList<BadVersion> all)
    {
        sysroot.Root.MakeDirs($"{Layout.Stateroot(os)}/var/lib/sbox");
        using Dir own = sysroot.Root.OpenDir($"{Layout.Stateroot(os)}/var/lib/sbox");
        Durable.Replace(own, Name, Encoding.UTF8.GetBytes(string.Concat(
            all.Select(static each => $"{each.Commit} {each.Time.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture)} {each.Reason}\n"))));
    }

    private static BadVersion? Parse(string line) =>
        line.Split(' ', 3) is [var commit, var time, var reason] && Checksum.TryParse(commit, out Checksum checksum)
        && long.TryParse(time, NumberStyles.None, CultureInfo.InvariantCulture, out long seconds)
            ? new BadVersion(checksum, DateTimeOffset.FromUnixTimeSeconds(seconds), reason) : null;
}
