using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>What a disk was asked between two flushes: when the power fails at its end, any part of it may be there.</summary>
/// <param name="From">The first request.</param>
/// <param name="Until">The flush.</param>
/// <param name="EspSectors">The places on the EFI partition that are written in it, each once.</param>
/// <param name="EndsStep">Whether it ends with a step of the story, and not with a flush.</param>
internal sealed record CutWindow(int From, int Until, IReadOnlyList<long> EspSectors, bool EndsStep);

/// <summary>A fate for all that is asked between two flushes.</summary>
/// <param name="Name">For people.</param>
/// <param name="Survives">Whether a sector is there, by its request and its place on the disk.</param>
internal sealed record CutFate(string Name, Func<int, long, bool> Survives);

/// <summary>Which cuts are made of a record.</summary>
internal static class CutPlan
{
    private const int FewSectors = 3, Superblock = 4096;

    /// <summary>All that lies between flushes, from one request on, and what lies between a flush and the end of a step.</summary>
    /// <param name="requests">What was asked of the disk.</param>
    /// <param name="from">The first request that counts. What was not flushed by then belongs to the first window.</param>
    /// <param name="esp">Where the EFI partition is.</param>
    /// <param name="steps">How much had been asked when each step ended.</param>
    public static IReadOnlyList<CutWindow> Windows(IReadOnlyList<DiskRequest> requests, int from, DiskPart esp, IReadOnlyCollection<int> steps)
    {
        var windows = new List<CutWindow>();
        while (from > 0 && !requests[from - 1].IsFlush)
            from--;
        var sectors = new SortedSet<long>();
        for (int at = from; at <= requests.Count; at++)
        {
            bool isEnd = at == requests.Count || requests[at].IsFlush, endsStep = steps.Contains(at);
            if (endsStep || (isEnd && at > from))
                windows.Add(new CutWindow(from, at, [.. sectors], endsStep));
            if (isEnd)
            {
                sectors.Clear();
                from = at + 1;
                continue;
            }

            long end = Math.Min(requests[at].Offset + requests[at].Length, esp.Start + esp.Length);
            for (long place = Math.Max(requests[at].Offset, esp.Start); place < end; place += DiskLog.Sector)
                sectors.Add(place);
        }

        return windows;
    }

    /// <summary>
    /// What may have become of a window's writes to the EFI partition: every combination where they are few; else none, all, all but the tables, the tables alone, and some of
    /// them by lot. What the root's sectors become is by lot always; only its first block, with ext4's superblock, is written as a whole or not at all: ext4 writes it in place
    /// under one checksum when it is mounted and unmounted, and neither the kernel nor e2fsck -p takes half of it.
    /// </summary>
    public static IEnumerable<CutFate> Fates(CutWindow window, DiskPart esp, DiskPart root, long tables, long data, int seed)
    {
        bool OnEsp(long place) => place >= esp.Start && place < esp.Start + esp.Length;
        bool InTables(long place) => place - esp.Start >= tables && place - esp.Start < data;
        bool OnRoot(int request, long place) => Lot(seed, request, place - root.Start is >= 0 and < Superblock ? root.Start : place) < Lot(seed, window.Until, 0);
        CutFate Fate(string name, Func<int, long, bool> onEsp) => new(name, (request, place) => OnEsp(place) ? onEsp(request, place) : OnRoot(request, place));

        IReadOnlyList<long> sectors = window.EspSectors;
        if (sectors.Count <= FewSectors)
        {
            for (int set = 0; set < 1 << sectors.Count; set++)
            {
                HashSet<long> there = [.. sectors.Where((_, bit) => (set >> bit & 1) != 0)];
                yield return Fate($"of {sectors.Count} sectors those at {string.Join(' ', there.Select(place => place - esp.Start))}", (_, place) => there.Contains(place));
            }

            yield break;
        }

        yield return Fate("nothing", static (_, _) => false);
        yield return Fate("all", static (_, _) => true);
        yield return Fate("all but the tables", (_, place) => !InTables(place));
        yield return Fate("the tables alone", (_, place) => InTables(place));
        foreach (int percent in (int[])[20, 50, 80])
            yield return Fate($"{percent} of 100", (request, place) => Lot(seed + percent, request, place) < percent / 100.0);
    }

    // A number from 0 to 1 that is always the same for the same sector of the same request.
    private static double Lot(int seed, int request, long place)
    {
        ulong mixed = ((ulong)(uint)seed << 32 | (uint)request) + ((ulong)place * 0x9E3779B97F4A7C15);
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
        return (mixed ^ (mixed >> 31)) / (double)ulong.MaxValue;
    }
}
