using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Boot.Tests;

/// <summary>An EFI partition that a power cut left in use is put in order before it is written to.</summary>
public sealed class FatRepairTests : IDisposable
{
    private const int State = 65, TableStart = 32 * 512; // mkfs.vfat reserves 32 sectors

    private readonly string directory = Directory.CreateTempSubdirectory("sbox-fat-").FullName;
    private readonly string disk;

    public FatRepairTests()
    {
        disk = $"{directory}/disk";
        Judge.OnPath("mkfs.vfat").Run("-C", "-F", "32", "-s", "1", disk, "36864");
        File.WriteAllText($"{directory}/text", new string('x', 5000));
        Judge.OnPath("mcopy").Run("-i", disk, $"{directory}/text", "::half.tmp");
    }

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact]
    public void What_a_cut_left_is_mended()
    {
        CutShort(inUse: true);
        Assert.NotEqual(0, Judge.OnPath("fsck.vfat").Ask("-n", disk).ExitCode);
        Assert.True(OnDevice(FatRepair.IfLeftInUse));
        Judge.OnPath("fsck.vfat").Run("-n", disk);
    }

    [Fact]
    public void Nobody_mends_what_was_unmounted()
    {
        CutShort(inUse: false);
        byte[] before = File.ReadAllBytes(disk);
        Assert.False(OnDevice(FatRepair.IfLeftInUse));
        Assert.Equal(before, File.ReadAllBytes(disk));
    }

    [Fact]
    public void Nobody_mends_what_is_mounted()
    {
        CutShort(inUse: true);
        byte[] before = File.ReadAllBytes(disk);
        Assert.False(OnDevice(device =>
        {
            using Dir root = Dir.Open("/");
            using var mounted = root.OpenUnusedDevice(device[1..]); // what a mount does to a device
            return FatRepair.IfLeftInUse(device);
        }));
        Assert.Equal(before, File.ReadAllBytes(disk));
    }

    // The entry of a file reached the disk, and where its clusters go on did not.
    private void CutShort(bool inUse)
    {
        byte[] bytes = File.ReadAllBytes(disk);
        Array.Clear(bytes, TableStart + (3 * 4), 12 * 4);
        bytes[State] = (byte)(inUse ? 1 : 0);
        File.WriteAllBytes(disk, bytes);
    }

    private bool OnDevice(Func<string, bool> ask)
    {
        string device = Judge.OnPath("losetup").Run("--find", "--show", disk).Trim();
        try
        {
            return ask(device);
        }
        finally
        {
            Judge.OnPath("losetup").Run("--detach", device);
        }
    }
}
