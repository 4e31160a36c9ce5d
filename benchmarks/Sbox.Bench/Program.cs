using Sbox.Bench;
using Sbox.Judges;

// Sbox.Bench verify OUR-SBOX REPOSITORY REF RESULTS: reading and hashing a box's disk beside sha256sum.
if (args is ["verify", var sbox, var repository, var branch, var page])
{
    File.WriteAllText(page, new VerifyComparison(sbox, Path.Combine(Judge.Cache, "bench", "verify"), rounds: 5).Run(repository, branch));
    Console.Out.Write(File.ReadAllText(page));
    return 0;
}

// Sbox.Bench tomb OUR-SBOX HOME SCALE RESULTS: the tomb beside real restic. A home that is not there is made.
if (args is ["tomb", var program, var home, var scale, var tombPage])
    return TombBench(program, home, double.Parse(scale, System.Globalization.CultureInfo.InvariantCulture), tombPage);

// Sbox.Bench tomb-mount OUR-SBOX RESULTS: an open tomb beside real restic mount.
if (args is ["tomb-mount", var opener, var mountPage])
{
    string mountWork = Path.Combine(Judge.Cache, "bench", "mount-work");
    if (Directory.Exists(mountWork))
        Directory.Delete(mountWork, recursive: true);
    Directory.CreateDirectory(mountWork);
    try
    {
        File.WriteAllText(mountPage, MountComparison.Page([.. new MountComparison(opener.Split(' '), mountWork, rounds: 3).Run()]));
        Console.Out.Write(File.ReadAllText(mountPage));
        return 0;
    }
    finally
    {
        Directory.Delete(mountWork, recursive: true);
    }
}

// Sbox.Bench OUR-OSTREE TREE RESULTS: the store beside the real one, in one run, interleaved, at equal durability.
if (args is not [var ours, var tree, var results])
{
    Console.Error.WriteLine("Sbox.Bench OUR-OSTREE TREE RESULTS-FILE\nSbox.Bench verify OUR-SBOX REPOSITORY REF RESULTS-FILE");
    return 2;
}

// On the same file system as the tree: a hardlink cannot cross one, and tmpfs would hide what durability costs.
string work = Path.Combine(Judge.Cache, "bench", "work");
if (Directory.Exists(work))
    Directory.Delete(work, recursive: true);
Directory.CreateDirectory(work);
try
{
    var comparison = new StoreComparison(ours, Judge.Ostree.Command, tree, work, rounds: 5);
    List<Row> rows = [.. comparison.Run()];
    string version = Judge.Ostree.Run("--version").Split('\n').First(static line => line.Contains("Version", StringComparison.Ordinal)).Trim();
    File.WriteAllText(results, Table.Of(rows, tree, version, comparison.DeltaSizes));
    Console.Out.Write(File.ReadAllText(results));
    return 0;
}
finally
{
    Directory.Delete(work, recursive: true);
}

static int TombBench(string sbox, string home, double scale, string page)
{
    if (!Directory.Exists(home))
        HomeMaker.Make(home, scale);
    string work = Path.Combine(Judge.Cache, "bench", "tomb-work");
    if (Directory.Exists(work))
        Directory.Delete(work, recursive: true);
    Directory.CreateDirectory(work);
    Environment.SetEnvironmentVariable("XDG_STATE_HOME", work);
    try
    {
        var comparison = new TombComparison(sbox.Split(' '), home, work, rounds: 3);
        List<Row> rows = [.. comparison.Run()];
        File.WriteAllText(page, TombComparison.Page(rows, home));
        Console.Out.Write(File.ReadAllText(page));
        return 0;
    }
    finally
    {
        Directory.Delete(work, recursive: true);
    }
}
