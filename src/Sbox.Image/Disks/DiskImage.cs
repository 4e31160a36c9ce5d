using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs.Iso;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Image;

/// <summary>
/// Directories -> a raw disk image with a GPT, an EFI system partition and an ext4 root. Nothing is mounted and no loop device is used, so
/// it needs root only as far as the directories do. Tools: sfdisk, mtools, e2fsprogs.
/// </summary>
public static class DiskImage
{
    private const long FirstSector = 2048; // a MiB, where every partitioning tool begins
    private const long SectorsInMebibyte = 2048;
    private const int SectorsInBlock = RootMeasure.BlockSize / DiskPlan.SectorSize;

    private const string IsoVolume = "SBOX";

    private static readonly Guid EspType = new("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");

    /// <summary>Measures the directories and decides every size and identifier; changes nothing.</summary>
    /// <exception cref="LinuxException">A directory cannot be read.</exception>
    /// <exception cref="ArgumentException">The architecture has no root partition type here.</exception>
    public static DiskPlan Plan(DiskContent content)
    {
        EspSize espSize = EspSize.For(content.EspDirectory, content.KernelImages);
        RootMeasure measure = RootMeasure.Of(content.RootDirectory);
        long blocks = (2 * (measure.Blocks + measure.VerityBlocks)) + RootMeasure.Ceiling(content.UserBytes, RootMeasure.BlockSize);
        long inodes = (2 * measure.Inodes) + RootMeasure.Ceiling(content.UserBytes, 4 * RootMeasure.BlockSize);
        Ext4Size rootSize = Ext4Size.For(blocks, inodes);

        var esp = new PlannedPartition("ESP", EspType, Identifier(content.Seed, "esp"), FirstSector, espSize.Sectors);
        var root = new PlannedPartition(
            RootFileSystem.Label, RootType(content.Architecture), Identifier(content.Seed, "root"), esp.Start + esp.Sectors,
            (rootSize.Blocks * SectorsInBlock) + (content.SpareMebibytes * SectorsInMebibyte));
        long end = root.Start + root.Sectors + SectorsInMebibyte; // the GPT's copy is in the last MiB
        Guid serial = Identifier(content.Seed, "fat");
        return new DiskPlan(
            content, Identifier(content.Seed, "disk"), Identifier(content.Seed, "ext4"), Identifier(content.Seed, "hash"),
            BitConverter.ToUInt32(serial.ToByteArray()), esp, espSize, root, rootSize, measure, end * DiskPlan.SectorSize);
    }

    /// <summary>
    /// Writes the image beside its name and renames it there when it is whole and on the disk. Files to be sealed grow in the root's directory meanwhile,
    /// and stay so: it is for this image alone.
    /// </summary>
    /// <exception cref="BuildFailedException">A tool failed; nothing is left of the image.</exception>
    public static void Write(DiskPlan plan, string path, IProgress<BuildStep>? progress = null, CancellationToken cancel = default)
    {
        string directory = Path.GetDirectoryName(Path.GetFullPath(path))!;
        string temporary = $".{Path.GetFileName(path)}.tmp";
        using Dir into = Dir.Open(directory);
        into.TryUnlink(temporary); // of a run that was killed
        try
        {
            using (SafeFileHandle image = into.CreateFile(temporary))
                RandomAccess.SetLength(image, plan.Bytes);
            string file = $"{directory}/{temporary}";
            Partition(plan, file, new StepRunner("partitions", progress, cancel));
            FillEsp(plan, file, new StepRunner("ESP", progress, cancel));
            FillRoot(plan, file, new StepRunner("root", progress, cancel));
            using (SafeFileHandle image = into.OpenToWrite(temporary))
            {
                if (plan.Content.IsIso)
                    Files.WriteAt(image, IsoHeader.Make(IsoVolume, plan.Bytes, plan.Esp.Offset, DateTimeOffset.FromUnixTimeSeconds(plan.Content.Timestamp)), IsoHeader.Offset, file);
                Durable.Sync(image, file);
            }

            into.Rename(temporary, into, Path.GetFileName(path));
            Durable.Sync(into);
        }
        finally
        {
            into.TryUnlink(temporary);
        }
    }

    private static void Partition(DiskPlan plan, string image, StepRunner runner)
    {
        static string Line(PlannedPartition partition) =>
            $"start={partition.Start}, size={partition.Sectors}, type={partition.Type}, uuid={partition.Id}, name=\"{partition.Name}\"\n";

        runner.Say("");
        runner.Run(new ChildCommand("sfdisk", ["--quiet", image])
        {
            Input = $"label: gpt\nlabel-id: {plan.DiskId}\nunit: sectors\nfirst-lba: {FirstSector}\n\n{Line(plan.Esp)}{Line(plan.Root)}",
        });
    }

    private static void FillEsp(DiskPlan plan, string image, StepRunner runner)
    {
        string at = $"{image}@@{plan.Esp.Offset}";
        var fixedTime = new Dictionary<string, string> { ["SOURCE_DATE_EPOCH"] = plan.Content.Timestamp.ToString(CultureInfo.InvariantCulture) };
        runner.Say("");
        runner.Run(new ChildCommand("mformat",
        [
            "-i", at, "-F", "-v", "ESP", "-N", plan.FatSerial.ToString("x8", CultureInfo.InvariantCulture), "-c", $"{plan.EspSize.SectorsInCluster}",
            "-h", "64", "-s", "32", "-H", $"{plan.Esp.Start}", "-T", $"{plan.Esp.Sectors}", "::",
        ]) { Environment = fixedTime });

        string[] names = [.. Directory.GetFileSystemEntries(plan.Content.EspDirectory).Order(StringComparer.Ordinal)];
        if (names.Length > 0)
            runner.Run(new ChildCommand("mcopy", ["-i", at, "-s", "-Q", "-m", .. names, "::/"]) { Environment = fixedTime });
    }

    private static void FillRoot(DiskPlan plan, string image, StepRunner runner)
    {
        IReadOnlyList<(string Path, long Size)> sizes = VerityOnDisk.Append(plan.Content.RootDirectory, plan.Content.SealedFiles, runner.Cancel);
        runner.Say("");
        runner.Run(new ChildCommand("mkfs.ext4",
        [
            .. RootFileSystem.Arguments(plan.FileSystemId, plan.RootSize.Inodes),
            "-E", $"offset={plan.Root.Offset},hash_seed={plan.HashSeed},lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0",
            "-d", plan.Content.RootDirectory, image, $"{plan.RootSize.Blocks}",
        ])
        {
            Environment = new Dictionary<string, string>
            {
                ["E2FSPROGS_FAKE_TIME"] = Math.Max(1, plan.Content.Timestamp).ToString(CultureInfo.InvariantCulture),
                ["MKE2FS_CONFIG"] = "/dev/null",
            },
        });
        if (sizes.Count > 0)
            VerityOnDisk.Finish(image, plan.Root.Offset, sizes, runner with { Step = "fs-verity" }, Math.Max(1, plan.Content.Timestamp));
    }

    // The discoverable partitions specification's types for a root.
    private static Guid RootType(string architecture) => architecture switch
    {
        "amd64" => new Guid("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
        "arm64" => new Guid("b921b045-1df0-41c3-af44-4c6f280d3fae"),
        "riscv64" => new Guid("72ec70a6-cf74-40e6-bd49-4bda08e8f224"),
        "loong64" => new Guid("77055800-792c-4f94-b39a-98c91b762bb6"),
        _ => throw new ArgumentException($"no root partition type is known for {architecture}", nameof(architecture)),
    };

    // RFC 9562's version 8: a hash of our own choosing, marked as such.
    private static Guid Identifier(string seed, string purpose)
    {
        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes($"sbox disk {purpose}\0{seed}"));
        hash[6] = (byte)((hash[6] & 0x0f) | 0x80);
        hash[8] = (byte)((hash[8] & 0x3f) | 0x80);
        return new Guid(hash.AsSpan(0, 16), bigEndian: true);
    }
}
