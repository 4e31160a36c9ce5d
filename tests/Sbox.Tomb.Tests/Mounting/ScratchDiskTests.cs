using Sbox.Linux;
using Sbox.Tomb.Sessions;

namespace Sbox.Tomb.Tests.Mounting;

public sealed class ScratchDiskTests : IDisposable
{
    private static readonly IReadOnlyList<MountEntry> Mounts = MountTable.Parse("""
        21 1 254:2 / / rw - ext4 /dev/vda2 rw
        22 21 0:26 / /run rw - tmpfs tmpfs rw
        23 21 252:1 / /crypt rw - ext4 /dev/dm-1 rw
        24 21 252:2 / /plain-volume rw - ext4 /dev/dm-2 rw
        25 21 7:0 / /loop-on-crypt rw - ext4 /dev/loop0 rw
        26 21 7:1 / /loop-on-disk rw - ext4 /dev/loop1 rw
        27 21 0:50 / /far rw - nfs4 host:/export rw

        """);

    private readonly Place place = new();

    public ScratchDiskTests()
    {
        Device("dm-0", "CRYPT-LUKS2-0123-root", "vda3");
        Device("dm-1", "LVM-abc", "dm-0"); // a volume of LVM on LUKS
        Device("dm-2", "LVM-def", "vda4");
        Device("loop0", null, backing: "/crypt/file");
        Device("loop1", null, backing: "/var/file");
        Device("vda2", null);
        Device("vda3", null);
        Device("vda4", null);
    }

    public void Dispose() => place.Dispose();

    [Theory]
    [InlineData("/run/user/scratch", null)]
    [InlineData("/crypt/scratch", null)]
    [InlineData("/loop-on-crypt/scratch", null)]
    [InlineData("/var/scratch", "it is on /dev/vda2, which is not encrypted")]
    [InlineData("/plain-volume/scratch", "it is on /dev/dm-2, which is not encrypted")]
    [InlineData("/loop-on-disk/scratch", "it is on /dev/loop1, which is not encrypted")]
    [InlineData("/far/scratch", "it is on nfs4 of host:/export, and whether that is encrypted cannot be told")]
    public void A_disk_that_is_not_encrypted_is_named_whatever_it_is_made_of(string directory, string? begins)
    {
        string? finding = new ScratchDisk(Mounts, place["sys"]).FindingOf(directory);
        if (begins is null)
            Assert.Null(finding);
        else
            Assert.StartsWith(begins, finding, StringComparison.Ordinal);
    }

    private void Device(string name, string? uuid, string? below = null, string? backing = null)
    {
        string at = place[$"sys/class/block/{name}"];
        Directory.CreateDirectory($"{at}/slaves");
        if (below is not null)
            Directory.CreateDirectory($"{at}/slaves/{below}");
        foreach ((string file, string? text) in (ReadOnlySpan<(string, string?)>)[("dm/uuid", uuid), ("loop/backing_file", backing)])
        {
            if (text is null)
                continue;
            Directory.CreateDirectory(Path.GetDirectoryName($"{at}/{file}")!);
            File.WriteAllText($"{at}/{file}", $"{text}\n");
        }
    }
}
