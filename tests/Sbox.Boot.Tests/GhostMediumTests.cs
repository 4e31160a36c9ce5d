namespace Sbox.Boot.Tests;

/// <summary>What a ghost was started from is known by where it is plugged in, and seen to go.</summary>
public sealed class GhostMediumTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-medium-").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    private string Sys => $"{directory}/sys";

    private string Stick => $"{Sys}/devices/usb1/host2/block/sda";

    // A stick with two partitions, and an encrypted volume on the second.
    private void PlugIn()
    {
        foreach (string each in (string[])["dev/block", "class/block", "devices/usb1/host2/block/sda/sda2", "devices/virtual/block/dm-0/slaves"])
            Directory.CreateDirectory($"{Sys}/{each}");
        Directory.CreateSymbolicLink($"{Sys}/dev/block/8:2", "../../devices/usb1/host2/block/sda/sda2");
        Directory.CreateSymbolicLink($"{Sys}/class/block/sda2", "../../devices/usb1/host2/block/sda/sda2");
        Directory.CreateSymbolicLink($"{Sys}/dev/block/254:0", "../../devices/virtual/block/dm-0");
        Directory.CreateSymbolicLink($"{Sys}/devices/virtual/block/dm-0/slaves/sda2", "../../../../usb1/host2/block/sda/sda2");
    }

    [Theory, InlineData(0x802UL), InlineData(0xfe00UL)] // 8:2, 254:0
    public void A_stick_that_is_pulled_out_is_missed_also_below_an_encrypted_volume_which_stays(ulong number)
    {
        PlugIn();
        GhostMedium medium = GhostMedium.Of(number, Sys)!;
        Assert.Equal(("sda2", false, true), (medium.Name, medium.IsCopied, medium.IsThere));
        Directory.Delete(Stick, recursive: true);
        Assert.False(medium.IsThere);
    }

    [Fact]
    public void Another_stick_by_the_same_name_is_not_the_one_that_was_pulled_out()
    {
        PlugIn();
        GhostMedium medium = GhostMedium.Of(0x802, Sys)!;
        Directory.Move($"{Sys}/devices/usb1/host2", $"{Sys}/devices/usb1/host3");
        Assert.False(medium.IsThere);
    }

    [Fact]
    public void Another_one_in_the_same_slot_is_not_the_one_that_was_pulled_out()
    {
        PlugIn();
        GhostMedium medium = GhostMedium.Of(0x802, Sys)!;
        Directory.Move($"{Stick}/sda2", $"{Stick}/before"); // or the new directory could get its number
        Directory.CreateDirectory($"{Stick}/sda2");
        Assert.False(medium.IsThere);
    }

    [Fact]
    public void What_was_copied_to_memory_is_known_by_its_name()
    {
        PlugIn();
        Directory.CreateDirectory($"{directory}/run");
        new MemoryDisk("/dev/sda2", 1, TimeSpan.Zero).Leave($"{directory}/run");
        Assert.Equal(new GhostMedium("sda2", $"{Stick}/sda2", IsCopied: true), GhostMedium.Find(sys: Sys, run: $"{directory}/run"));
    }

    [Fact]
    public void A_device_that_the_kernel_does_not_know_is_none() => Assert.Null(GhostMedium.Of(0x802, Sys));
}
