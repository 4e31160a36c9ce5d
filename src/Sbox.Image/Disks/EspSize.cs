using Sbox.Linux;

namespace Sbox.Image;

/// <summary>How large the EFI system partition must be, as FAT32.</summary>
/// <param name="Sectors">Sectors of 512 bytes, a whole number of MiB.</param>
/// <param name="SectorsInCluster">1 to 8, the most that still makes a FAT32.</param>
/// <param name="ContentBytes">What is in the directory, in whole clusters of 4096 bytes.</param>
/// <param name="LargestImage">Bytes of the largest unified kernel image in it.</param>
public readonly record struct EspSize(long Sectors, int SectorsInCluster, long ContentBytes, long LargestImage)
{
    private const int SectorSize = 512;
    private const int LargestCluster = 8;
    private const long SectorsInMebibyte = (1 << 20) / SectorSize;

    // A FAT with fewer clusters is a FAT16 to every reader; firmware expects FAT32 of a fixed disk.
    private const long LeastClusters = 65_525 + 16;

    /// <summary>Measures a directory and adds room for images to come.</summary>
    /// <param name="directory">The partition's content.</param>
    /// <param name="images">How many kernel images must fit in all, as large as the largest there with a quarter more.</param>
    public static EspSize For(string directory, int images)
    {
        long content = 0, largest = 0;
        int present = 0;
        using (Dir dir = Dir.Open(directory))
            Measure(dir, ref content, ref largest, ref present);

        long room = Math.Max(0, images - present) * Clusters(largest + (largest / 4));
        long data = content + room + (1 << 20); // the last MiB is for what an upgrade writes beside its image: entries, loader, random seed
        for (int cluster = LargestCluster; ; cluster /= 2)
        {
            long clusters = RootMeasure.Ceiling(data, cluster * SectorSize);
            bool enough = clusters >= LeastClusters;
            if (!enough && cluster > 1)
                continue;
            clusters = Math.Max(clusters, LeastClusters);

            // 32 reserved sectors, two tables of 4 bytes a cluster.
            long sectors = 32 + (2 * RootMeasure.Ceiling((clusters + 2) * 4, SectorSize)) + (clusters * cluster);
            return new EspSize(RootMeasure.Ceiling(sectors, SectorsInMebibyte) * SectorsInMebibyte, cluster, content, largest);
        }
    }

    private static void Measure(Dir dir, ref long content, ref long largest, ref int present)
    {
        content += LargestCluster * SectorSize;
        foreach (DirEntry entry in dir.Entries())
        {
            FileStat stat = dir.Stat(entry.Name);
            if (stat.IsDirectory)
            {
                using Dir inner = dir.OpenDir(entry.Name);
                Measure(inner, ref content, ref largest, ref present);
                continue;
            }

            content += Clusters(stat.Size);
            if (!dir.Path.EndsWith("/EFI/Linux", StringComparison.Ordinal))
                continue;
            largest = Math.Max(largest, stat.Size);
            present++;
        }
    }

    private static long Clusters(long bytes) => RootMeasure.Ceiling(bytes, LargestCluster * SectorSize) * LargestCluster * SectorSize;
}
