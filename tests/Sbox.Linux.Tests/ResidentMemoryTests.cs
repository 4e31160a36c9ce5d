namespace Sbox.Linux.Tests;

/// <summary>What a program gives back before it sleeps, and that it runs on. Nothing else may run in the process meanwhile.</summary>
[CollectionDefinition(nameof(ResidentMemoryTests), DisableParallelization = true)]
[Collection(nameof(ResidentMemoryTests))]
public sealed class ResidentMemoryTests
{
    [Fact]
    public void Only_mappings_of_files_that_are_read_or_run_and_of_which_no_page_was_copied_are_given_back()
    {
        string[] smaps =
        [
            "55771a471000-55771aaca000 r-xp 004c0000 fd:00 1234                       /usr/bin/sbox", "Rss:                4456 kB", "Anonymous:             0 kB", "THPeligible:           0",
            "55771aacc000-55771aaee000 r--p 00b1b000 fd:00 1234                       /usr/bin/sbox", "Rss:                 136 kB", "Anonymous:            56 kB",
            "55771aaee000-55771aaef000 rw-p 00b3d000 fd:00 1234                       /usr/bin/sbox", "Anonymous:             0 kB",
            "7f793b75f000-7f793b7e0000 r--s 00001000 00:0e 6                          anon_inode:bpf-map", "Anonymous:             0 kB",
            "7f795bc00000-7f795bc2d000 r--p 00000000 00:00 0 ", "Anonymous:             0 kB",
            "7f851c975000-7f851c99b000 r--p 00000000 fd:00 99                         /usr/lib/a library.so", "Anonymous:             0 kB",
        ];
        Assert.Equal([(0x55771a471000, 0x659000), (0x7f851c975000, 0x26000)], ResidentMemory.UnchangedFiles(smaps).Select(static each => ((long)each.Start, (long)each.Length)));
    }

    [Fact]
    public void Less_is_resident_afterwards_and_the_program_runs_on()
    {
        long[] numbers = [.. Enumerable.Range(0, 1 << 20)];
        long sum = numbers.Sum();
        long before = Resident();
        numbers = [];
        ResidentMemory.GiveBack();
        Assert.InRange(Resident(), 1, before - (4 << 20));
        Assert.Equal(sum, Enumerable.Range(0, 1 << 20).Sum(static each => (long)each));
    }

    private static long Resident() => long.Parse(File.ReadLines("/proc/self/status").First(static line => line.StartsWith("VmRSS:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2]) * 1024;
}
