using System.Globalization;
using System.Text;
using Sbox.Judges;

namespace Sbox.Bench;

/// <summary>Saving, restoring and keeping a home beside real restic, in turn.</summary>
internal sealed class TombComparison(string[] ours, string home, double scale, string work, int rounds)
{
    private readonly string password = Path.Combine(work, "password");

    public IEnumerable<Row> Run()
    {
        File.WriteAllText(password, "bench\n");
        yield return Pair("first save", (mine, tomb) =>
        {
            Fresh(mine, tomb);
            return Save(mine, tomb);
        });
        yield return Pair("save, unchanged", Save);
        int round = 0;
        yield return Pair("save, 1 % changed", Save, () => HomeMaker.Change(home, ++round));
        yield return Pair("restore", (mine, tomb) =>
        {
            string to = tomb + ".out";
            if (Directory.Exists(to))
                Directory.Delete(to, recursive: true);
            return mine ? Ours(tomb, "restore", "latest", "--to", to) : Theirs(tomb, "restore", "latest", "--target", to);
        });
        yield return Pair("check", (mine, tomb) => mine ? Ours(tomb, "check") : Theirs(tomb, "check"));
        yield return Pair("check --read-data", (mine, tomb) => mine ? Ours(tomb, "check", "--read-data") : Theirs(tomb, "check", "--read-data"));
        yield return Pair("forget and prune", (mine, tomb) =>
        {
            HomeMaker.Change(home, ++round);
            Timed.Run(Save(mine, tomb));
            return mine ? Ours(tomb, "forget", "--keep-last", "1", "--prune") : Theirs(tomb, "forget", "--keep-last", "1", "--prune");
        });
        Timed.Run(Theirs(Path.Combine(work, "ours"), "check", "--read-data"));
        foreach (string kind in HomeMaker.Kinds)
        {
            string only = Path.Combine(work, "kind");
            HomeMaker.MakeKind(only, kind, scale);
            yield return Pair($"first save, {kind}", (mine, tomb) =>
            {
                Fresh(mine, tomb);
                return Save(mine, tomb, only);
            });
            Timed.Run(Theirs(Path.Combine(work, "ours"), "check", "--read-data"));
            Directory.Delete(only, recursive: true);
        }
    }

    /// <summary>The results as a page.</summary>
    public static string Page(IEnumerable<Row> rows, string home)
    {
        string[] files = [.. Directory.EnumerateFiles(home, "*", SearchOption.AllDirectories)];
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# The tomb beside real restic ({Judge.Restic.Run("version").Trim()})\n\n");
        text.Append(CultureInfo.InvariantCulture, $"Made by `./bench tomb` on {DateTime.UtcNow:yyyy-MM-dd}; a generated home of {files.Length} files, {files.Sum(static file => new FileInfo(file).Length) / 1_000_000} MB; a tomb in a directory;\n");
        text.Append("medians of interleaved runs, both durable and verifying what they write. A ratio above 1 means that ours needs less.\n");
        text.Append("Every tomb of ours was found whole by `restic check --read-data` afterwards.\n\n");
        text.Append(Table.Rows(rows));
        string[] load = File.ReadAllText("/proc/loadavg").Split(' ');
        text.Append(CultureInfo.InvariantCulture, $"\nThe machine's load at the end was {load[0]} on {Environment.ProcessorCount} processors ({load[2]} on average of the last quarter of an hour): the more it is, the less wall times say, and CPU seconds say more.\n");
        return text.ToString();
    }

    private Row Pair(string name, Func<bool, string, string[]> command, Action? before = null)
    {
        Console.Error.WriteLine(name);
        List<Cost> ourCosts = [], theirCosts = [];
        for (int round = 0; round < rounds; round++)
        {
            before?.Invoke();
            ourCosts.Add(Timed.Run(command(true, Path.Combine(work, "ours"))));
            theirCosts.Add(Timed.Run(command(false, Path.Combine(work, "theirs"))));
        }

        return new Row(name, Cost.MedianOf(ourCosts), Cost.MedianOf(theirCosts));
    }

    private void Fresh(bool mine, string tomb)
    {
        if (Directory.Exists(tomb))
            Directory.Delete(tomb, recursive: true);
        Timed.Run(mine ? Ours(tomb, "create") : Theirs(tomb, "init"));
    }

    private string[] Save(bool mine, string tomb) => Save(mine, tomb, home);

    private string[] Save(bool mine, string tomb, string what) => mine ? Ours(tomb, "save", what) : Theirs(tomb, "backup", "--quiet", what);

    private string[] Ours(string tomb, params string[] words) => [.. ours, "tomb", "--tomb", tomb, "--password-file", password, .. words];

    private string[] Theirs(string tomb, params string[] words) => [.. Judge.Restic.Command, "-r", tomb, "--password-file", password, "--no-cache", .. words];
}
