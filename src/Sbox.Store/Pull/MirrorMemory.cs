using System.Globalization;
using System.Text;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// How fast a remote's mirrors were when it was last pulled from: <c>tmp/cache/mirrors/REMOTE</c>, a line for each: bytes a second of one request (0 for one that was left), seconds since 1970, address.
/// It says who is asked first, and nothing of what is believed; lost or damaged, it is learnt anew.
/// </summary>
internal sealed class MirrorMemory : IDisposable
{
    private const string Mirrors = "mirrors";
    private const int MostLines = 64, MostBytes = 64 * 1024;
    private const long Fastest = 100L << 30; // bytes a second: what says more is damaged
    private static readonly TimeSpan Lasts = TimeSpan.FromDays(30), LeftLasts = TimeSpan.FromDays(1);
    private readonly Dir dir;
    private readonly string remote;
    private readonly TimeProvider clock;

    private MirrorMemory(Dir dir, string remote, TimeProvider clock) => (this.dir, this.remote, this.clock) = (dir, remote, clock);

    /// <summary>What is kept of a remote's mirrors; null where nothing is to be (<c>OSTREE_SKIP_CACHE</c>), there is no remote, or its place cannot be had.</summary>
    /// <param name="repository">Whose remote.</param>
    /// <param name="remote">Its name.</param>
    /// <param name="directory">Where, in place of the repository's <c>tmp/cache</c>.</param>
    /// <param name="clock">Says how old it is.</param>
    public static MirrorMemory? Open(Repository repository, string? remote, string? directory, TimeProvider clock)
    {
        try
        {
            return SummaryCache.Place(repository, remote, directory, Mirrors) is { } place ? new MirrorMemory(place, remote!, clock) : null;
        }
        catch (IOException)
        {
            return null; // what is learnt is lost, and no pull fails for it
        }
    }

    /// <summary>What an address is called there: without a name and password in it.</summary>
    public static string NameOf(string url) => HttpTransport.Shown(url);

    /// <summary>What is known, by <see cref="NameOf"/>; what is old is not.</summary>
    public IReadOnlyDictionary<string, Line> Load()
    {
        var known = new Dictionary<string, Line>();
        DateTimeOffset now = clock.GetUtcNow();
        foreach (string line in Text().Split('\n').Take(MostLines))
        {
            if (Parse(line) is ({ } url, { } read) && read.Time <= now && now - read.Time < (read.Speed == 0 ? LeftLasts : Lasts))
                known[url] = read;
        }

        return known;
    }

    /// <summary>Keeps what was learnt, and of others what was known. That it cannot be kept hinders no pull.</summary>
    /// <returns>Whether it was kept.</returns>
    public bool TrySave(IReadOnlyDictionary<string, long> learnt)
    {
        DateTimeOffset now = clock.GetUtcNow();
        Dictionary<string, Line> all = new(Load());
        foreach ((string url, long speed) in learnt)
            all[url] = new Line(Math.Min(speed, Fastest), now);
        string[] lines = [.. all.Where(static each => !each.Key.Contains('\n', StringComparison.Ordinal)).OrderByDescending(static each => each.Value.Time).Take(MostLines)
            .Select(static each => string.Create(CultureInfo.InvariantCulture, $"{each.Value.Speed} {each.Value.Time.ToUnixTimeSeconds()} {each.Key}\n"))];
        try
        {
            Durable.Replace(dir, remote, Encoding.UTF8.GetBytes(string.Concat(lines)));
            return true;
        }
        catch (IOException)
        {
            return false; // also where the disk is full
        }
    }

    public void Dispose() => dir.Dispose();

    private string Text()
    {
        try
        {
            return dir.TryStat(remote) is { Size: <= MostBytes } && dir.TryReadAll(remote) is { } bytes ? Encoding.UTF8.GetString(bytes) : "";
        }
        catch (IOException)
        {
            return ""; // no file, or one that cannot be read: nothing is known
        }
    }

    private static (string? Url, Line? Line) Parse(string text) =>
        text.Split(' ', 3) is [var speed, var time, { Length: > 0 } url]
        && long.TryParse(speed, NumberStyles.None, CultureInfo.InvariantCulture, out long bytes) && bytes <= Fastest
        && long.TryParse(time, NumberStyles.None, CultureInfo.InvariantCulture, out long seconds) && seconds <= DateTimeOffset.MaxValue.ToUnixTimeSeconds()
            ? (url, new Line(bytes, DateTimeOffset.FromUnixTimeSeconds(seconds)))
            : default;

    /// <summary>What is known of one.</summary>
    /// <param name="Speed">Bytes a second of one request; 0: it was left.</param>
    /// <param name="Time">When that was.</param>
    internal sealed record Line(long Speed, DateTimeOffset Time);
}
