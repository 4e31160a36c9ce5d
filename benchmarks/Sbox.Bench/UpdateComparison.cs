using System.Globalization;
using System.Text;

namespace Sbox.Bench;

/// <summary>
/// What travels when a real Debian is updated: the release as its main archive has it, and the same with its updates and security fixes. Pulls are counted by the web server that
/// answers them; of what has no server (tars, chunks) the files that a client would need are.
/// </summary>
/// <param name="programs">Where ours are.</param>
/// <param name="theirs">Real ostree.</param>
/// <param name="recipe">A recipe for trixie.</param>
/// <param name="work">For all that is made.</param>
internal sealed class UpdateComparison(string programs, IReadOnlyList<string> theirs, string recipe, string work)
{
    // SBOX_SUITES, separated by blanks, for some of them.
    private static readonly string[] Suites = (Environment.GetEnvironmentVariable("SBOX_SUITES") ?? "trixie bookworm").Split(' ', StringSplitOptions.RemoveEmptyEntries);

    private readonly string sbox = Path.Combine(programs, "sbox"), ostree = Path.Combine(programs, "ostree");

    public string Page()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# What travels for an update of a real Debian\n\nMade by `./bench updates` on {DateTime.UtcNow:yyyy-MM-dd}: {Path.GetFileName(recipe)} built from the suite's main archive alone (the release with its last point release), and with its\n");
        text.Append("updates and security fixes. Pulls are from nginx into a repository that has the old version, and are counted by nginx, heads of answers included. Of the others it is the size of what the client has\n");
        text.Append("to fetch: the patch of a tar of the tree, or the chunks that it lacks. Client: CPU seconds and the most memory of what makes the new version out of that.\n");
        foreach (string suite in Suites)
            Suite(suite, text);
        text.Append(CultureInfo.InvariantCulture, $"\n{Table.Conditions()}\n");
        return text.ToString();
    }

    private void Suite(string suite, StringBuilder text)
    {
        string place = Path.Combine(work, suite), branch = $"bench/{suite}";
        Directory.CreateDirectory(place);
        Timed.Run(ostree, $"--repo={place}/builds", "init", "--mode=bare-user");
        (string old, string fresh) = (Build(suite, branch, place, 1), Build(suite, branch, place, 2));
        string plain = Served(place, "plain", old, fresh, branch, null);
        List<UpdateRow> rows =
        [
            Pull("object pull, ours", [ostree], plain, place, old, branch),
            Pull("object pull, ostree", theirs, plain, place, old, branch),
        ];
        string their = Served(place, "their", old, fresh, branch, theirs), our = Served(place, "our", old, fresh, branch, [ostree]);
        rows.Add(Pull("static delta by ostree, pulled by ostree", theirs, their, place, old, branch));
        rows.Add(Pull("static delta by ostree, pulled by ours", [ostree], their, place, old, branch));
        rows.Add(Pull("static delta by ours, pulled by ostree", theirs, our, place, old, branch));
        rows.Add(Pull("static delta by ours, pulled by ours", [ostree], our, place, old, branch, "never"));
        rows.Add(Pull("the same, kernel modules and the initrd compressed again by the client", [ostree], our, place, old, branch, "always"));
        foreach (UpdateRow row in rows)
            Say(row.ToString());
        foreach (UpdateRow row in new PatchComparison(place, Trees(place, old, fresh)).Rows())
        {
            Say(row.ToString());
            rows.Add(row);
        }

        long least = rows.Min(static row => row.Bytes);
        text.Append(CultureInfo.InvariantCulture, $"\n## {suite}\n\n{Changed(place, old, fresh)}\n\n| way | bytes | beside the least | requests | client: CPU s, MiB |\n|---|---|---|---|---|\n");
        foreach (UpdateRow row in rows)
            text.Append(CultureInfo.InvariantCulture, $"| {row.Way} | {row.Bytes:N0} | {(double)row.Bytes / least:0.00} | {row.Requests?.ToString(CultureInfo.InvariantCulture) ?? ""} | {row.Client.Cpu:0.0}, {row.Client.MemoryMiB:0} |\n");
        Directory.Delete(place, recursive: true);
    }

    private string Build(string suite, string branch, string place, int version)
    {
        string path = Path.Combine(place, $"{version}.toml"), builds = Path.Combine(place, "builds");
        File.WriteAllText(path, RecipeFor(suite, branch, version));
        Say($"{suite}: building version {version}");
        Timed.Run(sbox, "build", path, "--repo", builds);
        return Timed.Output(ostree, $"--repo={builds}", "rev-parse", branch).Trim();
    }

    // The same packages by the names that the suite has for them.
    private string RecipeFor(string suite, string branch, int version)
    {
        string text = File.ReadAllText(recipe)
            .Replace("ref = \"debian/13/amd64/minimal\"", $"ref = \"{branch}\"", StringComparison.Ordinal)
            .Replace("suite = \"trixie\"", $"suite = \"{suite}\"{(version == 1 ? $"\nmirrors = [\"deb {Mirror()} {suite} main\"]" : "")}", StringComparison.Ordinal)
            .Replace("version = \"1\"", $"version = \"{version}\"", StringComparison.Ordinal);
        return suite == "trixie" ? text : text.Replace("t64\"", "\"", StringComparison.Ordinal).Replace("    \"systemd-cryptsetup\",\n", "", StringComparison.Ordinal);
    }

    // Where this machine's own packages come from.
    private static string Mirror() => Timed.Output("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").Split('\n')
        .First(static line => line.TrimEnd('/').EndsWith("/debian", StringComparison.Ordinal));

    // An archive with both, and deltas by whom.
    private string Served(string place, string name, string old, string fresh, string branch, IReadOnlyList<string>? deltasBy)
    {
        string served = Path.Combine(place, name), builds = Path.Combine(place, "builds");
        Timed.Run(ostree, $"--repo={served}", "init", "--mode=archive");
        Timed.Run(ostree, $"--repo={served}", "pull-local", builds, branch);
        Timed.Run(ostree, $"--repo={served}", "pull-local", builds, old);
        if (deltasBy is not null)
        {
            Say($"deltas by {deltasBy[^1]}");
            Timed.Run([.. deltasBy, $"--repo={served}", "static-delta", "generate", $"--from={old}", $"--to={fresh}", .. deltasBy.Count == 1 ? (string[])["--recompress"] : []]);
        }

        Timed.Run(ostree, $"--repo={served}", "summary", "--update");
        return served;
    }

    private UpdateRow Pull(string way, IReadOnlyList<string> who, string served, string place, string old, string branch, string recompress = "auto")
    {
        string client = Path.Combine(place, "client");
        Timed.Run([.. who, $"--repo={client}", "init", "--mode=bare"]);
        Timed.Run([.. who, $"--repo={client}", "pull-local", "--remote=far", Path.Combine(place, "builds"), old]);
        using Nginx nginx = Nginx.Start(served, place, counts: true);
        Timed.Run([.. who, $"--repo={client}", "remote", "add", "--no-gpg-verify", $"--set=sbox-recompress={recompress}", "far", nginx.Url]);
        Timed.Run([.. who, $"--repo={client}", "refs", $"--create=far:{branch}", old]);
        Say(way);
        Cost cost = Timed.Run([.. who, $"--repo={client}", "pull", "far", branch]);
        Timed.Run([.. who, $"--repo={client}", "fsck", "-q"]);
        (long bytes, int answers) = nginx.Sent();
        Directory.Delete(client, recursive: true);
        return new UpdateRow(way, bytes, answers, cost);
    }

    private (string Old, string Fresh) Trees(string place, string old, string fresh)
    {
        foreach ((string commit, string name) in (ReadOnlySpan<(string, string)>)[(old, "old"), (fresh, "fresh")])
            Timed.Run(ostree, $"--repo={place}/builds", "checkout", commit, Path.Combine(place, name));
        return (Path.Combine(place, "old"), Path.Combine(place, "fresh"));
    }

    private string Changed(string place, string old, string fresh)
    {
        string[] said = Timed.Output(ostree, $"--repo={place}/builds", "diff", old, fresh).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        int Count(char kind) => said.Count(line => line[0] == kind);
        return $"{Count('M')} files changed, {Count('A')} added, {Count('D')} removed; {Packages(place)} packages have another version.";
    }

    private static int Packages(string place)
    {
        HashSet<string> Of(string tree) => [.. Timed.Output("dpkg-query", $"--admindir={place}/{tree}/usr/lib/sysimage/dpkg", "-W", "-f", "${Package} ${Version}\\n").Split('\n')];
        HashSet<string> fresh = Of("fresh");
        fresh.ExceptWith(Of("old"));
        return fresh.Count;
    }

    private static void Say(string what) => Console.Error.WriteLine(what);
}

/// <summary>One way to bring an update.</summary>
/// <param name="Way">For people.</param>
/// <param name="Bytes">What travels.</param>
/// <param name="Requests">In how many answers; null where no server was asked.</param>
/// <param name="Client">What it costs who is updated.</param>
internal sealed record UpdateRow(string Way, long Bytes, int? Requests, Cost Client);
