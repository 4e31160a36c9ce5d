using System.Text.Json;
using Sbox.Codecs.Gpt;
using Sbox.Judges;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>What <c>sbox install</c> says and asks before it writes to a disk. Needs root and a loop device.</summary>
public sealed class InstallTests : IDisposable
{
    private readonly TempDir temp = new();
    private readonly string disk, image;

    public InstallTests()
    {
        image = temp.Of("disk.img");
        const long sectors = 16 * GuidPartitionTable.SectorsInMebibyte;
        GuidPartitionTable table = GuidPartitionTable.Empty(Guid.NewGuid(), sectors)
            .With(0, new GptPartition(new Guid("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"), Guid.NewGuid(), 2048, 8191, 0, "ESP"))
            .With(1, new GptPartition(new Guid("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"), Guid.NewGuid(), 8192, 28671, 0, "sbox-root"));
        using (FileStream file = File.Create(image))
        {
            file.SetLength(sectors * GuidPartitionTable.SectorSize);
            file.Write([.. table.ToProtectiveRecord(new byte[512]), .. table.ToFirstCopy()]);
            file.Position = file.Length - GuidPartitionTable.CopyBytes;
            file.Write(table.ToSecondCopy());
        }

        using (FileStream file = File.Create(temp.Of("stick")))
            file.SetLength(32 << 20);
        disk = Judge.OnPath("losetup").Run("--find", "--show", "--partscan", temp.Of("stick")).Trim();
    }

    public void Dispose()
    {
        Judge.OnPath("losetup").Run("--detach", disk);
        temp.Dispose();
    }

    [Fact]
    public void Without_a_terminal_the_disk_is_shown_with_its_name_and_size_and_nothing_is_written()
    {
        Verdict shown = Sbox("install", "--image", image, "--to", disk);
        Assert.Equal(3, shown.ExitCode);
        Assert.Contains($"{disk}: loop device of {temp.Of("stick")}, 32.0 MiB. All that is on it will be gone:\n  no partitions\nTo be written there: {image}, 16.0 MiB.\n", shown.Error, StringComparison.Ordinal);
        Assert.Equal($"Nothing was changed on {disk}: it was only shown, since nobody could be asked (--yes does it without)\n", shown.Output);
        Assert.Equal(1, Judge.OnPath("cmp").Ask("--quiet", image, disk).ExitCode);
        Assert.DoesNotContain(File.ReadAllBytes(temp.Of("stick")), static each => each != 0);
    }

    [Fact]
    public void Programs_get_the_same_as_one_object()
    {
        JsonElement shown = JsonDocument.Parse(Sbox("install", "--image", image, "--to", disk, "--json").Output).RootElement;
        Assert.Equal((false, disk, 32L << 20), (shown.GetProperty("done").GetBoolean(), shown.GetProperty("disk").GetString(), shown.GetProperty("disk-bytes").GetInt64()));
    }

    [Fact]
    public void A_refusal_names_the_device_the_finding_and_the_way_out()
    {
        string system = Judge.OnPath("findmnt").Run("--noheadings", "--output", "SOURCE", "--nofsroot", "/").Trim();
        Verdict refused = Sbox("install", "--image", image, "--to", system);
        Assert.Equal(1, refused.ExitCode);
        Assert.StartsWith($"sbox: {system}: {system} is mounted at ", refused.Error, StringComparison.Ordinal);
        Assert.Contains("\n  Nothing was written there. The disks that there are: lsblk; name a whole one that nothing uses\n", refused.Error, StringComparison.Ordinal);
        Assert.Contains("this machine is no box", Sbox("stick", "--to", disk).Error, StringComparison.Ordinal);
    }

    [Fact]
    public void An_image_whose_file_system_is_not_sound_is_not_called_done()
    {
        Verdict failed = Sbox("install", "--image", image, "--to", disk, "--yes");
        Assert.Equal(1, failed.ExitCode);
        Assert.Contains("e2fsck ended with ", failed.Error, StringComparison.Ordinal);
        Assert.Empty(failed.Output);
    }

    private static Verdict Sbox(params string[] arguments) => Judge.OnPath(Path.Combine(RunningBox.Program, "sbox")).Ask(arguments);
}
