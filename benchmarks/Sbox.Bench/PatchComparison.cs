namespace Sbox.Bench;

/// <summary>Tools that know nothing of a repository, between two trees: each makes what has to travel, and makes the new one out of that again.</summary>
/// <param name="place">For all that is made; what is made is removed.</param>
/// <param name="trees">Two directories.</param>
internal sealed class PatchComparison(string place, (string Old, string Fresh) trees)
{
    /// <summary>All of them.</summary>
    public IEnumerable<UpdateRow> Rows()
    {
        string old = Tar(trees.Old), fresh = Tar(trees.Fresh), patch = Path.Combine(place, "patch"), made = Path.Combine(place, "made");

        // Windows as large as the tars, for both: with their own a file that moved is not found again.
        yield return Patch("zstd -19 --patch-from of a tar", ["zstd", "-q", "-19", "--long=31", $"--patch-from={old}", fresh, "-o", patch], ["zstd", "-q", "-d", "--long=31", $"--patch-from={old}", patch, "-o", made]);
        yield return Patch("xdelta3 -9 -S lzma of a tar", ["xdelta3", "-e", "-9", "-S", "lzma", "-B", "1073741824", "-s", old, fresh, patch], ["xdelta3", "-d", "-B", "1073741824", "-s", old, patch, made]);
        File.Delete(old);
        File.Delete(fresh);
        yield return Chunks();

        UpdateRow Patch(string way, string[] make, string[] apply)
        {
            Console.Error.WriteLine(way);
            Timed.Run(make);
            long bytes = new FileInfo(patch).Length;
            Cost cost = Timed.Run(apply);
            Timed.Run("cmp", fresh, made);
            File.Delete(patch);
            File.Delete(made);
            return new UpdateRow(way, bytes, null, cost);
        }
    }

    private UpdateRow Chunks()
    {
        Console.Error.WriteLine("casync");
        string store = Path.Combine(place, "chunks"), old = Path.Combine(place, "old.caidx"), fresh = Path.Combine(place, "fresh.caidx"), target = Path.Combine(place, "extracted");
        Timed.Run("casync", "make", "--with=unix", $"--store={store}", old, trees.Old);
        HashSet<string> before = [.. Files(store)];
        Timed.Run("casync", "make", "--with=unix", $"--store={store}", fresh, trees.Fresh);
        long bytes = new FileInfo(fresh).Length + Files(store).Where(file => !before.Contains(file)).Sum(static file => new FileInfo(file).Length);
        Cost cost = Timed.Run("casync", "extract", "--with=unix", $"--store={store}", $"--seed={trees.Old}", fresh, target);
        foreach (string each in (string[])[store, target])
            Directory.Delete(each, recursive: true);
        return new UpdateRow("casync, chunks of 64 KiB, its own compression", bytes, null, cost);
    }

    private static IEnumerable<string> Files(string directory) => Directory.EnumerateFiles(directory, "*", SearchOption.AllDirectories);

    private static string Tar(string tree)
    {
        string tar = $"{tree}.tar";
        Timed.Run("tar", "--sort=name", "--numeric-owner", "-C", tree, "-cf", tar, ".");
        return tar;
    }
}
