using System.Globalization;
using Sbox.Bench;
using Sbox.Judges;

// Measures one part beside the real tools, in one run, interleaved, at equal durability, and writes the page.
string? page = args switch
{
    ["store", var ostree, var tree, _] => InScratch("work", work =>
    {
        var comparison = new StoreComparison(ostree, Judge.Ostree.Command, tree, work, rounds: 5);
        List<Row> rows = [.. comparison.Run()];
        string version = Judge.Ostree.Run("--version").Split('\n').First(static line => line.Contains("Version", StringComparison.Ordinal)).Trim();
        return Table.Of(rows, tree, version, comparison.DeltaSizes);
    }),
    ["pull", var ostree, var repository, var branch, _] => InScratch("pull-work", work => new PullComparison(ostree, Judge.Ostree.Command, repository, branch, work).Page()),
    ["updates", var programs, var recipe, _] => InScratch("updates-work", work => new UpdateComparison(programs, Judge.Ostree.Command, recipe, work).Page()),
    ["store-scale", var ostree, var files, var bytes, _] => InMemory(memory => InScratch("scale", disk =>
        new ScaleMeasure(ostree, Judge.Ostree.Command, memory, disk, int.Parse(files, CultureInfo.InvariantCulture), long.Parse(bytes, CultureInfo.InvariantCulture)).Page())),
    ["verify", var sbox, var repository, var branch, _] => new VerifyComparison(sbox, Path.Combine(Judge.Cache, "bench", "verify"), rounds: 5).Run(repository, branch),
    ["sysroot", var programs, var repository, var branch, var other, _] => InScratch("sysroot-work", work => new SysrootComparison(programs, Judge.Ostree.Command, repository, branch, other, work, rounds: 6).Page()),
    ["tomb", var sbox, var home, var scale, _] => InScratch("tomb-work", work =>
    {
        if (!Directory.Exists(home))
            HomeMaker.Make(home, double.Parse(scale, CultureInfo.InvariantCulture));
        Environment.SetEnvironmentVariable("XDG_STATE_HOME", work);
        return TombComparison.Page([.. new TombComparison(sbox.Split(' '), home, double.Parse(scale, CultureInfo.InvariantCulture), work, rounds: 3).Run()], home);
    }),
    ["tomb-mount", var sbox, _] => InScratch("mount-work", work => new MountComparison(sbox.Split(' '), work, rounds: 3).Page()),
    ["tomb-large", var sbox, _] => InScratch("large-work", work =>
    {
        Environment.SetEnvironmentVariable("SBOX_CACHE", Judge.Cache); // where the judges are, whatever becomes of the next
        Environment.SetEnvironmentVariable("XDG_STATE_HOME", work);
        Environment.SetEnvironmentVariable("XDG_CACHE_HOME", Path.Combine(work, "cache"));
        return new LargeComparison(sbox.Split(' '), work).Run();
    }),
    ["watch", var sbox, _] => InScratch("watch-work", work =>
    {
        using var measure = new WatchMeasure(sbox, work);
        return measure.Run();
    }),
    _ => null,
};
if (args is ["large-tomb", var place, var password, var named, var count])
{
    await LargeTomb.Make(place, password, named, int.Parse(count, CultureInfo.InvariantCulture));
    return 0;
}

if (page is null)
{
    Console.Error.WriteLine("""
        Sbox.Bench store OUR-OSTREE TREE PAGE
        Sbox.Bench pull OUR-OSTREE REPOSITORY REF PAGE       from nginx, near and far
        Sbox.Bench updates OUR-PROGRAMS RECIPE PAGE          what travels when a real Debian is updated
        Sbox.Bench store-scale OUR-OSTREE FILES BYTES PAGE   many small files, and a large one
        Sbox.Bench verify OUR-SBOX REPOSITORY REF PAGE
        Sbox.Bench sysroot OUR-PROGRAMS REPOSITORY REF COMMIT PAGE  deploying, and looking at what is deployed
        Sbox.Bench tomb OUR-SBOX HOME SCALE PAGE             a home that is not there is made
        Sbox.Bench tomb-mount OUR-SBOX PAGE
        Sbox.Bench watch OUR-SBOX PAGE
        Sbox.Bench tomb-large OUR-SBOX PAGE
        Sbox.Bench large-tomb PLACE PASSWORD-FILE HOME FILES  makes a tomb of so many small files, to look at
        """);
    return 2;
}

File.WriteAllText(args[^1], page);
Console.Out.Write(page);
return 0;

// On the cache's file system, where the tree is: a hardlink cannot cross to another, and tmpfs would hide what durability costs.
static string InScratch(string name, Func<string, string> measure) => In(Path.Combine(Judge.Cache, "bench", name), measure);

static string InMemory(Func<string, string> measure) => In($"/dev/shm/sbox-bench-{Environment.ProcessId}", measure);

static string In(string work, Func<string, string> measure)
{
    if (Directory.Exists(work))
        Directory.Delete(work, recursive: true);
    Directory.CreateDirectory(work);
    try
    {
        return measure(work);
    }
    finally
    {
        Directory.Delete(work, recursive: true);
    }
}
