using Sbox.Judges;

namespace Sbox.Boot.Tests;

public sealed class PartitionTablesTests : IDisposable
{
    private const string Loader = "11111111-2222-3333-4444-555555555555";

    private readonly string directory = Directory.CreateTempSubdirectory("sbox-tables-").FullName;

    [Fact]
    public void The_EFI_partition_is_found_before_udev_has_seen_it()
    {
        // As on a machine that is so slow that the version is judged while udev is still at work.
        Partition("vda", "vda1", 1, $"label: gpt\nstart=2048, size=1024, type={EfiSystemPartition.PartitionType}, uuid={Loader}\nstart=4096, size=1024, type=linux\n");
        Partition("vda", "vda2", 2);
        IReadOnlyList<BlockDevice> unseen = [new("vda", "254:0", null, Nothing), new("vda1", "254:1", "vda", Nothing), new("vda2", "254:2", "vda", Nothing)];
        Assert.Null(EfiSystemPartition.Find(unseen, Loader, "254:2"));

        IReadOnlyList<BlockDevice> seen = PartitionTables.Complete(unseen, $"{directory}/sys", $"{directory}/dev");

        Assert.Equal("vda1", EfiSystemPartition.Find(seen, Loader, "254:2")?.Name);
        Assert.Equal("vda1", EfiSystemPartition.Find(seen, null, "254:2")?.Name);
        Assert.Equal(Loader, seen[1].PartitionUuid);
        Assert.NotEqual(EfiSystemPartition.PartitionType, seen[2].PartitionType);
    }

    [Fact]
    public void What_udev_says_is_believed_and_a_disk_without_such_a_table_is_left_as_it_is()
    {
        Partition("vda", "vda1", 1, $"label: gpt\nstart=2048, size=1024, type={EfiSystemPartition.PartitionType}, uuid={Loader}\n");
        Partition("vdb", "vdb1", 1, "label: dos\nstart=2048, size=1024, type=83\n");
        Partition("vdc", "vdc1", 1);
        var known = new Dictionary<string, string> { ["ID_PART_ENTRY_UUID"] = "a", ["ID_PART_ENTRY_TYPE"] = "b" };
        IReadOnlyList<BlockDevice> devices = [new("vda1", "254:1", "vda", known), new("vdb1", "254:17", "vdb", Nothing), new("vdc1", "254:33", "vdc", Nothing)];
        Assert.Equal(devices, PartitionTables.Complete(devices, $"{directory}/sys", $"{directory}/dev"));
    }

    public void Dispose() => Directory.Delete(directory, recursive: true);

    private static Dictionary<string, string> Nothing => [];

    // The kernel's half, and where a script is given, a disk as sfdisk makes it.
    private void Partition(string disk, string name, int number, string? script = null)
    {
        Directory.CreateDirectory($"{directory}/sys/class/block/{name}");
        File.WriteAllText($"{directory}/sys/class/block/{name}/partition", $"{number}\n");
        Directory.CreateDirectory($"{directory}/dev");
        if (script is null)
            return;
        using (FileStream image = File.Create($"{directory}/dev/{disk}"))
            image.SetLength(8 << 20);
        Verdict verdict = Judge.OnPath("sh").Ask("-c", "printf '%b' \"$2\" | sfdisk --quiet \"$1\"", "sh", $"{directory}/dev/{disk}", script.Replace("\n", "\\n", StringComparison.Ordinal));
        Assert.True(verdict.ExitCode == 0, verdict.Error);
    }
}
