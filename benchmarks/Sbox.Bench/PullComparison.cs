using System.Globalization;
using System.Text;

namespace Sbox.Bench;

/// <summary>A whole Debian pulled from nginx by both programs, in turn: over the loopback, and over a link that is far away and loses packets.</summary>
internal sealed class PullComparison(string ours, IReadOnlyList<string> theirs, string repository, string branch, string work)
{
    private const double Loss = 0.01;
    private const int NearRounds = 5, FarRounds = 3;
    private static readonly TimeSpan RoundTrip = TimeSpan.FromMilliseconds(50);

    public string Page()
    {
        using Nginx nginx = Nginx.Start(repository, work);
        Row near = Pair("over the loopback", NearRounds, nginx.Url, static () => { });
        using var link = new SlowLink(nginx.Port, RoundTrip, Loss);
        List<int> counts = [];
        Row far = Pair("50 ms of round trip, 1 % of packets lost", FarRounds, $"http://127.0.0.1:{link.Port}", () => counts.Add(link.Connections));
        int[] connections = [.. counts.Select((count, at) => count - (at == 0 ? 0 : counts[at - 1]))];
        return Page([near, far], connections);
    }

    private Row Pair(string name, int rounds, string url, Action afterEach)
    {
        List<Cost> mine = [], others = [];
        for (int round = 1; round <= rounds; round++)
        {
            Console.Error.WriteLine($"{name}, round {round} of {rounds}");
            mine.Add(Pull([ours], "ours", url));
            afterEach();
            others.Add(Pull(theirs, "theirs", url));
            afterEach();
        }

        return new Row(name, Cost.MedianOf(mine), Cost.MedianOf(others));
    }

    private Cost Pull(IReadOnlyList<string> who, string name, string url)
    {
        string target = Path.Combine(work, $"{name}.{Guid.NewGuid():N}");
        Timed.Run([.. who, $"--repo={target}", "init", "--mode=bare"]);
        Timed.Run([.. who, $"--repo={target}", "remote", "add", "--no-gpg-verify", "far", url]);
        Cost cost = Timed.Run([.. who, $"--repo={target}", "pull", "--disable-static-deltas", "far", branch]);
        // What the next one finds on the disk is the same for both.
        Directory.Delete(target, recursive: true);
        Timed.Run("sync");
        return cost;
    }

    private string Page(List<Row> rows, int[] connections)
    {
        int objects = Directory.EnumerateFiles(Path.Combine(repository, "objects"), "*", SearchOption.AllDirectories).Count();
        long bytes = Directory.EnumerateFiles(Path.Combine(repository, "objects"), "*", SearchOption.AllDirectories).Sum(static file => new FileInfo(file).Length);
        string version = Timed.Output([.. theirs, "--version"]).Split('\n').First(static line => line.Contains("Version", StringComparison.Ordinal)).Trim();
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# Pulling over HTTP beside real ostree ({version})\n\n");
        text.Append(CultureInfo.InvariantCulture, $"Made by `./bench pull` on {DateTime.UtcNow:yyyy-MM-dd}: a whole Debian of {objects} objects, {bytes / 1048576.0:0} MiB, from nginx into an empty repository in mode bare, each program\n");
        text.Append(CultureInfo.InvariantCulture, $"with its own defaults and durability; medians of {NearRounds} (near) and {FarRounds} (far) interleaved runs on {Environment.ProcessorCount} processors. A ratio above 1 means that ours needs less.\n");
        text.Append("The far link is a model in front of the same nginx, since not every kernel has netem: benchmarks/Sbox.Bench/SlowLink.cs says what it does.\n\n");
        text.Append(Table.Rows(rows));
        text.Append(CultureInfo.InvariantCulture, $"\nConnections over the far link, run by run: ours {string.Join(", ", connections.Where(static (_, at) => at % 2 == 0))}; theirs {string.Join(", ", connections.Where(static (_, at) => at % 2 == 1))}.\n");
        return text.ToString();
    }
}
