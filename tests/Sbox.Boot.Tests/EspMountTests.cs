using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Boot.Tests;

/// <summary>Looking at the EFI partition beside an upgrade that writes it. ext4 stands in for FAT, which not every kernel here has.</summary>
public sealed class EspMountTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-esp-").FullName;
    private readonly string disk, device;

    public EspMountTests()
    {
        disk = $"{directory}/disk";
        using (FileStream file = File.Create(disk))
            file.SetLength(8 << 20);
        Judge.OnPath("mkfs.ext4").Run("-q", disk);
        device = Judge.OnPath("losetup").Run("--find", "--show", disk).Trim();
    }

    public void Dispose()
    {
        Judge.OnPath("losetup").Run("--detach", device);
        Directory.Delete(directory, recursive: true);
    }

    [Fact]
    public void A_look_writes_nothing_to_the_disk()
    {
        byte[] before = File.ReadAllBytes(disk);
        PrivateMounts.ToLook("ext4", device).Dispose();
        Assert.Equal(before, File.ReadAllBytes(disk));
    }

    [Fact]
    public void A_look_is_possible_while_an_upgrade_writes()
    {
        using DetachedMount upgrade = PrivateMounts.ToWrite("ext4", device);
        PrivateMounts.ToLook("ext4", device).Dispose();
    }

    [Fact]
    public async Task An_upgrade_waits_until_who_looks_has_seen_enough()
    {
        DetachedMount look = PrivateMounts.ToLook("ext4", device);
        Task<DetachedMount> upgrade = Task.Run(() => PrivateMounts.ToWrite("ext4", device), TestContext.Current.CancellationToken);
        await Task.Delay(300, TestContext.Current.CancellationToken);
        Assert.False(upgrade.IsCompleted);
        look.Dispose();
        (await upgrade).Dispose();
    }
}
