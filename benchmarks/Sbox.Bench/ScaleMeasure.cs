using System.Globalization;
using System.Text;

namespace Sbox.Bench;

/// <summary>
/// What grows with the number of objects, and what with their size: the same work for a quarter and for all of many small files, then for one
/// large file; all of the small files beside real ostree. They are in memory, so that the disk is no part of it.
/// </summary>
internal sealed class ScaleMeasure(string ours, IReadOnlyList<string> theirs, string memory, string disk, int files, long largeBytes)
{
    private const int InDirectory = 1000;

    public string Page()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# Many objects, and large ones\n\nMade by `./bench store-scale` on {DateTime.UtcNow:yyyy-MM-dd}, once each; the small files in tmpfs, the large one on a disk. The load of the machine at its beginning was {Load()}.\n\n");
        text.Append(CultureInfo.InvariantCulture, $"| work | {files / 4} small files: s, CPU s, MiB | {files}: s, CPU s, MiB | CPU, four times as many/a quarter | real ostree, {files}: s, CPU s, MiB |\n|---|---|---|---|---|\n");
        List<(string Work, Cost Cost)> few = Many(files / 4, [ours]), all = Many(files, [ours]), their = Many(files, theirs);
        Directory.Delete(Path.Combine(memory, "tree"), recursive: true);
        for (int i = 0; i < few.Count; i++)
            text.Append(CultureInfo.InvariantCulture, $"| {few[i].Work} | {Show(few[i].Cost)} | {Show(all[i].Cost)} | {all[i].Cost.Cpu / few[i].Cost.Cpu:0.0} | {Show(their[i].Cost)} |\n");
        text.Append(CultureInfo.InvariantCulture, $"\n| work with one file of {largeBytes / 1e9:0.0} GB, half of it zeros | s, CPU s, MiB |\n|---|---|\n");
        foreach ((string name, Cost cost) in Large())
            text.Append(CultureInfo.InvariantCulture, $"| {name} | {Show(cost)} |\n");
        return text.ToString();
    }

    private List<(string Work, Cost Cost)> Many(int count, IReadOnlyList<string> who)
    {
        string tree = Path.Combine(memory, "tree"), repo = Path.Combine(Fresh(memory, "repos"), "bare");
        Directory.CreateDirectory(tree);
        for (int i = Directory.GetDirectories(tree).Length * InDirectory; i < count; i++)
        {
            string directory = Path.Combine(tree, $"{i / InDirectory}");
            if (i % InDirectory == 0)
                Directory.CreateDirectory(directory);
            File.WriteAllText(Path.Combine(directory, $"{i}"), $"{i}\n");
        }

        (string, Cost) Measured(string name, params string[] command) => Row(name, who, repo, command);
        Timed.Run([.. who, $"--repo={repo}", "init", "--mode=bare"]);
        var rows = new List<(string, Cost)>
        {
            Measured("commit", "commit", "-b", "many", $"--tree=dir={tree}"),
            Measured("ls -R", "ls", "-R", "many"),
            Measured("fsck", "fsck", "-q"),
            Measured("prune, nothing to do", "prune", "--refs-only"),
        };
        Timed.Run([.. who, $"--repo={repo}", "refs", "--delete", "many"]);
        rows.Add(Measured("prune, all of it", "prune", "--refs-only"));
        Directory.Delete(Path.Combine(memory, "repos"), recursive: true);
        return rows;
    }

    private IEnumerable<(string Work, Cost Cost)> Large()
    {
        string tree = Fresh(disk, "tree"), repos = Fresh(disk, "repos"), bare = Path.Combine(repos, "bare"), archive = Path.Combine(repos, "archive"), pulled = Path.Combine(repos, "pulled");
        WriteLarge(Path.Combine(tree, "large"), changed: false);
        foreach ((string repo, string mode) in ((string, string)[])[(bare, "bare"), (archive, "archive"), (pulled, "bare")])
            Timed.Run(ours, $"--repo={repo}", "init", $"--mode={mode}");
        yield return Row("commit into bare", bare, "commit", "-b", "large", "--timestamp=@1700000000", $"--tree=dir={tree}");
        yield return Row("fsck bare", bare, "fsck", "-q");
        yield return Row("checkout by copy", bare, "checkout", "-C", "large", Path.Combine(disk, "out"));
        Directory.Delete(Path.Combine(disk, "out"), recursive: true);
        yield return Row("commit into archive", archive, "commit", "-b", "large", "--timestamp=@1700000000", $"--tree=dir={tree}");
        yield return Row("fsck archive", archive, "fsck", "-q");
        yield return Row("pull-local archive to bare", pulled, "pull-local", archive, "large");
        WriteLarge(Path.Combine(tree, "large"), changed: true);
        Timed.Run(ours, $"--repo={bare}", "commit", "-b", "changed", $"--tree=dir={tree}");
        string delta = Path.Combine(disk, "delta");
        yield return Row("static delta generate, a few bytes changed", bare, "static-delta", "generate", "--inline", "--min-fallback-size=0", "--from=large", "--to=changed", $"--filename={delta}");
        yield return Row("static delta apply", pulled, "static-delta", "apply-offline", delta);
        File.Delete(delta);
        Directory.Delete(tree, recursive: true);
        Directory.Delete(repos, recursive: true);
    }

    // Noise and zeros in turn, a megabyte each; changed: other bytes in one place, and one byte put in at the beginning.
    private void WriteLarge(string path, bool changed)
    {
        var random = new Random(1);
        byte[] noise = new byte[1024 * 1024], zeros = new byte[1024 * 1024];
        using FileStream file = File.Create(path);
        if (changed)
            file.WriteByte(1);
        for (long written = 0; written < largeBytes; written += 2 * noise.Length)
        {
            random.NextBytes(noise);
            if (changed && written == largeBytes / 4 / noise.Length / 2 * noise.Length * 2)
                noise.AsSpan(0, 1000).Clear();
            file.Write(noise);
            file.Write(zeros);
        }
    }

    private (string Work, Cost Cost) Row(string name, string repo, params string[] command) => Row(name, [ours], repo, command);

    private static (string Work, Cost Cost) Row(string name, IReadOnlyList<string> who, string repo, params string[] command)
    {
        Console.Error.WriteLine(name);
        return (name, Timed.Run([.. who, $"--repo={repo}", .. command]));
    }

    private static string Fresh(string work, string name)
    {
        string path = Path.Combine(work, name);
        if (Directory.Exists(path))
            Directory.Delete(path, recursive: true);
        Directory.CreateDirectory(path);
        return path;
    }

    private static string Load() => File.ReadAllText("/proc/loadavg").Split(' ')[0];

    private static string Show(Cost cost) => string.Create(CultureInfo.InvariantCulture, $"{cost.Wall:0.0}, {cost.Cpu:0.0}, {cost.MemoryMiB:0}");
}
