using System.Diagnostics;
using Sbox.Judges;

namespace Sbox.Image.Tests;

/// <summary>What builds leave for the next one, and what they no longer keep.</summary>
public sealed class BuildCacheTests : IDisposable
{
    private const int Many = BuildCache.InitrdsKept + 3;
    private readonly TempDirectory directory = new();
    private readonly BuildCache cache;

    public BuildCacheTests() => cache = new BuildCache(directory.Of("cache"));

    public void Dispose() => directory.Dispose();

    [Fact]
    public void What_is_kept_is_on_the_disk_before_its_name_is_and_the_name_after()
    {
        string made = directory.Write("made", "bytes"), place = cache.Initrd("key"), trace = directory.Of("trace");
        // strace looks at this very process: no other has the code in it.
        using (Process strace = Process.Start(new ProcessStartInfo("strace", ["-f", "-y", "-qq", "-o", trace, "-e", "trace=fsync,renameat,renameat2", "-p", $"{Environment.ProcessId}"]))!)
        {
            Assert.True(SpinWait.SpinUntil(Traced, TimeSpan.FromSeconds(60)));
            BuildCache.Keep(made, place);
            Judge.OnPath("kill").Run("-INT", $"{strace.Id}");
            strace.WaitForExit();
        }

        string[] calls = [.. File.ReadLines(trace).Where(line => line.Contains(directory.Path, StringComparison.Ordinal))];
        Assert.Collection(
            calls,
            call => Assert.Matches($"fsync.*{made}>", call),
            call => Assert.Contains("renameat", call, StringComparison.Ordinal),
            call => Assert.Matches($"fsync.*{Path.GetDirectoryName(place)}>", call));
        Assert.Equal("bytes", File.ReadAllText(place));
    }

    [Fact]
    public void The_base_trees_and_initrds_that_were_used_last_are_kept_and_nothing_else()
    {
        for (int age = 0; age < Many; age++)
        {
            Age(cache.BasePackages($"k{age}"), 0); // when it was made does not count
            Age(cache.BaseTree($"k{age}"), age);
            Age(cache.Initrd($"k{age}"), age);
        }

        Age(cache.Initrd("cut") + ".123.tmp", 0);
        File.Delete(cache.BaseTree("k1"));
        BuildCache.Used(cache.BaseTree($"k{Many - 1}"));
        cache.Tidy();
        string[] bases = [.. Enumerable.Range(0, BuildCache.BasesKept).Where(static age => age != 1).Select(static age => $"k{age}"), $"k{Many - 1}"];
        Assert.Equal(bases.SelectMany(static key => new[] { $"{key}.packages", $"{key}.tar.zst" }).Order(StringComparer.Ordinal), Names("base"));
        Assert.Equal(Enumerable.Range(0, BuildCache.InitrdsKept).Select(static age => $"k{age}.img").Order(StringComparer.Ordinal), Names("initrd"));
    }

    [Fact]
    public void Nothing_goes_while_another_build_runs()
    {
        for (int age = 0; age < Many; age++)
            Age(cache.Initrd($"k{age}"), age);
        using (cache.Hold())
        using (cache.Hold()) // any number of builds at a time
        {
            cache.Tidy();
            Assert.Equal(Many, Names("initrd").Length);
        }

        cache.Tidy();
        Assert.Equal(BuildCache.InitrdsKept, Names("initrd").Length);
    }

    private string[] Names(string place) =>
        [.. Directory.GetFiles($"{cache.Root}/{place}").Select(static path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    private static void Age(string file, int days)
    {
        File.WriteAllText(file, "");
        File.SetLastWriteTimeUtc(file, new DateTime(2026, 11, 20, 0, 0, 0, DateTimeKind.Utc).AddDays(-days));
    }

    // Every thread of this process: strace takes them one by one.
    private static bool Traced() => Directory.GetDirectories("/proc/self/task").All(static task => TracedOrGone(task));

    private static bool TracedOrGone(string task)
    {
        try
        {
            return !File.ReadLines($"{task}/status").Contains("TracerPid:\t0");
        }
        catch (IOException)
        {
            return true; // it ended since it was listed
        }
    }
}
