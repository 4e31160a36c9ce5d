using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>Where a path belongs, by a box's mount table, and what becomes of it.</summary>
public sealed class PathPlaceTests
{
    private static readonly IReadOnlyList<MountEntry> Mounts = MountTable.Parse("""
        21 1 0:20 / / ro,relatime - overlay overlay ro,metacopy=on
        22 21 254:2 /ostree/deploy/debian/deploy/x.0/etc /etc rw,relatime - ext4 /dev/vda2 rw
        23 21 254:2 /ostree/deploy/debian/var /var rw,relatime - ext4 /dev/vda2 rw
        24 21 254:2 / /sysroot ro,relatime - ext4 /dev/vda2 rw
        25 21 0:25 / /tmp rw,nosuid - tmpfs tmpfs rw
        26 21 0:26 / /run rw,nosuid - tmpfs tmpfs rw
        27 21 254:1 / /efi rw,relatime - vfat /dev/vda1 rw
        28 23 0:40 / /var/home/me rw,nosuid - overlay tomb-me rw,lowerdir=/run/sbox/tombs/me/lower,upperdir=/run/sbox/tombs/me/scratch/1/upper
        29 21 8:1 / /data rw,relatime - xfs /dev/sda1 rw

        """);

    [Theory]
    [InlineData("/usr/bin/ls", PlaceKind.System, "replaced by the new version's", "the old version's again", "stays", "stays")]
    [InlineData("/", PlaceKind.System, "replaced by the new version's", "the old version's again", "stays", "stays")]
    [InlineData("/etc/hosts", PlaceKind.Etc, "the new version's default", "the old version's own /etc, as it was when that ran last", "stays", "stays: it is the default")]
    [InlineData("/var/log/x", PlaceKind.Var, "stays as it is", "stays as it is: all versions share it", "stays", "gone")]
    [InlineData("/variant", PlaceKind.System, "replaced by the new version's", "the old version's again", "stays", "stays")]
    [InlineData("/tmp/x", PlaceKind.Memory, "gone with the reboot", "gone with the reboot", "gone", "gone with the reboot")]
    [InlineData("/var/home/me/letter", PlaceKind.Tomb, "stays as it is", "stays as it is: all versions share it", "stays in the tomb; what was not saved is gone", "stays in the tomb; what was not saved is gone")]
    [InlineData("/var/home/other", PlaceKind.Var, "stays as it is", "stays as it is: all versions share it", "stays", "gone")]
    [InlineData("/efi/EFI/Linux/x.efi", PlaceKind.Esp, "rewritten as the versions need it; what is not ours stays", "stays as it is: all versions share it", "stays", "stays")]
    [InlineData("/sysroot/ostree/repo", PlaceKind.Disk, "stays as it is", "stays as it is: all versions share it", "stays", "stays")]
    [InlineData("/data/x", PlaceKind.Other, "stays as it is", "stays as it is: all versions share it", "stays", "stays")]
    public void Every_path_is_in_one_part_of_the_box(string path, PlaceKind kind, string upgrade, string rollback, string reboot, string reset)
    {
        PathPlace place = PathPlace.Of(path, path, exists: true, Mounts, isGhost: false);
        Assert.Equal((kind, upgrade, rollback, reboot, reset), (place.Kind, place.AtUpgrade, place.AtRollback, place.AtReboot, place.AtReset));
    }

    [Theory]
    [InlineData("/var/log/mine", true, "gone; sbox keep PATH keeps it", "gone with the reboot: this boot is a ghost")]
    [InlineData("/var/log/old", false, "stays", "stays as it is")]
    [InlineData("/var/log", null, "stays, without what this boot changed", "stays as it is")]
    public void In_a_ghost_what_this_boot_made_is_gone_with_it_and_what_the_disk_has_stays(string path, bool? ofGhost, string reboot, string upgrade)
    {
        using var box = new TestBox(inMemory: true);
        using InstalledBox installed = box.Installed(box.Publish(1));
        Deployment running = installed.Sysroot.Deployments[0];
        string upper = Path.Combine(box.SysrootPath, "run/sbox/ghost/var/upper/log"), lower = Path.Combine(box.SysrootPath, running.Name.VarDirectory, "log");
        foreach ((string directory, string name) in (ReadOnlySpan<(string, string)>)[(upper, "mine"), (lower, "old")])
        {
            Directory.CreateDirectory(directory);
            File.WriteAllText(Path.Combine(directory, name), name);
        }

        PathPlace place = PathPlace.Of(path, path, exists: true, Mounts, isGhost: true).With(installed.Sysroot, running, Path.Combine(box.SysrootPath, "run"));
        Assert.Equal((ofGhost, reboot, upgrade), (place.IsOfGhost, place.AtReboot, place.AtUpgrade));
        Assert.Equal(ofGhost != true, place.Bytes is not null);
    }

    [Fact]
    public void The_bytes_of_a_system_file_are_an_object_of_the_repository_and_a_changed_default_is_seen()
    {
        using var box = new TestBox(inMemory: true);
        using InstalledBox installed = box.Installed(box.Publish(1));
        Deployment running = installed.Sysroot.Deployments[0];
        string bytes = PathPlace.Of("/usr/bin/version", "/usr/bin/version", exists: true, Mounts, isGhost: false).With(installed.Sysroot, running).Bytes!;
        Assert.Equal("1", File.ReadAllText(bytes.Replace("/sysroot", box.SysrootPath, StringComparison.Ordinal)));
        File.WriteAllText(box.Etc(running, "hostname"), "mine");
        File.WriteAllText(box.Etc(running, "own"), "mine");
        File.Delete(box.Etc(running, "default/thing"));
        foreach ((string path, EtcChangeKind change) in (ReadOnlySpan<(string, EtcChangeKind)>)[("hostname", EtcChangeKind.Modified), ("own", EtcChangeKind.Added), ("default/thing", EtcChangeKind.Removed)])
            Assert.Equal(change, PathPlace.Of($"/etc/{path}", $"/etc/{path}", exists: true, Mounts, isGhost: false).With(installed.Sysroot, running).Change);
    }
}
