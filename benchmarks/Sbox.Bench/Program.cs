using Sbox.Bench;
using Sbox.Judges;

// Sbox.Bench OUR-OSTREE TREE RESULTS: the store beside the real one, in one run, interleaved, at equal durability.
if (args is not [var ours, var tree, var results])
{
    Console.Error.WriteLine("Sbox.Bench OUR-OSTREE TREE RESULTS-FILE");
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
