using Sbox.Linux;

namespace Sbox.Integrity.Tests;

public sealed class MountJudgeTests
{
    [Fact]
    public void A_box_as_it_boots_has_nothing_wrong() =>
        Assert.Empty(MountJudge.Violations(BoxTable.Policy, BoxTable.Facts, new NamespaceView(1, BoxTable.Mounts(), false)));

    [Theory]
    [InlineData("40 30 0:50 / /usr rw - tmpfs x rw", FindingKind.Covered, "/usr")]
    [InlineData("40 30 0:50 / /usr/bin rw - tmpfs x rw", FindingKind.Covered, "/usr/bin")]
    [InlineData("40 30 0:50 / /usr/bin/su ro - tmpfs x ro", FindingKind.Covered, "/usr/bin/su")]
    [InlineData("40 30 0:51 / /usr rw - overlay overlay rw,lowerdir=/usr,upperdir=/tmp/u", FindingKind.Covered, "/usr")]
    [InlineData("40 30 0:51 / /usr ro - overlay sysext ro", FindingKind.SystemExtension, "/usr")]
    [InlineData("40 30 0:52 / /usr/share rw - fuse.evil evil rw", FindingKind.Covered, "/usr/share")]
    [InlineData("40 30 254:2 /ostree/deploy/debian/var/evil /usr/sbin rw - ext4 /dev/vda2 rw", FindingKind.Covered, "/usr/sbin")]
    [InlineData("40 30 0:50 / / rw - tmpfs x rw", FindingKind.Covered, "/")]
    [InlineData("40 33 0:50 / /boot rw - tmpfs x rw", FindingKind.Covered, "/boot")]
    [InlineData("40 34 0:50 / /sysroot/ostree rw - tmpfs x rw", FindingKind.Covered, "/sysroot/ostree")]
    [InlineData("40 33 254:2 /boot /boot ro,idmapped - ext4 /dev/vda2 rw", FindingKind.Covered, "/boot")]
    [InlineData("40 37 0:50 / /proc rw - tmpfs x rw", FindingKind.Covered, "/proc")]
    [InlineData("40 30 254:2 / /mnt rw - ext4 /dev/vda2 rw", FindingKind.PhysicalWritable, "/mnt")]
    [InlineData("40 38 254:2 /ostree/repo /tmp/r rw - ext4 /dev/vda2 rw", FindingKind.PhysicalWritable, "/tmp/r")]
    [InlineData("40 30 254:1 / /efi rw - vfat /dev/vda1 rw", FindingKind.EspWritable, "/efi")]
    public void A_mount_where_none_belongs_is_found(string line, FindingKind kind, string path) =>
        Assert.Contains(BoxTable.News(BoxTable.Mounts(line)), finding => finding.Kind == kind && finding.Path == path && finding.Mount!.Id == 40);

    [Fact]
    public void A_protected_path_that_is_remounted_writable_is_found()
    {
        Assert.Contains(BoxTable.News(BoxTable.Changed("/ /sysroot ro,", "/ /sysroot rw,")), static each => each is { Kind: FindingKind.Writable, Path: "/sysroot" });
        Assert.Contains(BoxTable.News(BoxTable.Changed("/boot /boot ro,", "/boot /boot rw,")), static each => each is { Kind: FindingKind.Writable, Path: "/boot" });
    }

    [Fact]
    public void The_root_without_its_read_only_mark_is_loosened_and_with_a_writable_file_system_writable()
    {
        Assert.Equal(FindingKind.Loosened, BoxTable.News(BoxTable.Changed("/ / ro,relatime - overlay overlay ro", "/ / rw,relatime - overlay overlay ro"))[0].Kind);
        Assert.Equal(FindingKind.Writable, BoxTable.News(BoxTable.Changed("/ / ro,relatime - overlay overlay ro", "/ / rw,relatime - overlay overlay rw"))[0].Kind);
    }

    [Fact]
    public void Another_root_of_the_whole_system_is_found_and_of_a_container_is_its_own_business()
    {
        IReadOnlyList<MountEntry> container = MountTable.Parse("90 1 0:60 / / rw - overlay overlay rw\n91 90 0:61 / /usr/lib/x rw - tmpfs t rw");
        Assert.Equal(FindingKind.RootReplaced, Assert.Single(BoxTable.News(container)).Kind);
        Assert.Empty(BoxTable.News(container, number: 7));
    }

    [Fact]
    public void The_storage_behind_the_system_is_guarded_in_containers_too()
    {
        IReadOnlyList<MountEntry> container = MountTable.Parse("90 1 0:60 / / rw - overlay overlay rw\n91 90 254:2 / /host rw - ext4 /dev/vda2 rw");
        Assert.Equal((FindingKind.PhysicalWritable, "/host"), Assert.Single(BoxTable.News(container, number: 7)) is var found ? (found.Kind, found.Path) : default);
    }

    [Theory]
    [InlineData("40 30 0:50 / /run/media/stick rw - vfat /dev/sda1 rw")]
    [InlineData("40 30 0:50 / /mnt rw - tmpfs x rw")]
    [InlineData("40 38 254:2 /ostree/deploy/debian/var/tmp/private /tmp rw - ext4 /dev/vda2 rw")]
    [InlineData("40 30 0:27 /usr /usr ro - overlay overlay ro")]
    [InlineData("40 37 0:70 / /proc rw - proc proc rw")] // ProtectProc= of a service
    [InlineData("40 37 0:71 / /proc/sys/fs/binfmt_misc rw - binfmt_misc binfmt_misc rw")]
    [InlineData("40 34 254:2 / /sysroot ro - ext4 /dev/vda2 rw")]
    [InlineData("40 30 254:1 / /efi ro - vfat /dev/vda1 ro")]
    public void What_belongs_to_normal_life_is_no_finding(string line) => Assert.Empty(BoxTable.News(BoxTable.Mounts(line)));

    [Fact]
    public void Systemd_may_hide_directories_from_a_service_but_not_from_the_system()
    {
        const string hidden = "40 30 0:24 /systemd/inaccessible/dir /usr/lib/modules ro - tmpfs tmpfs rw,mode=755";
        Assert.Empty(BoxTable.News(BoxTable.Mounts(hidden), number: 7));
        Assert.Equal(FindingKind.Covered, Assert.Single(BoxTable.News(BoxTable.Mounts(hidden))).Kind);
    }

    [Fact]
    public void In_the_namespace_of_sbox_storage_is_written_and_the_system_still_is_not()
    {
        IReadOnlyList<MountEntry> writing = MountTable.Parse(BoxTable.Text.Replace("/ /sysroot ro,", "/ /sysroot rw,", StringComparison.Ordinal) + "\n40 36 254:1 / /run/sbox/esp rw - vfat /dev/vda1 rw");
        Assert.Empty(BoxTable.News(writing, number: 7, isSbox: true));
        Assert.Equal(3, BoxTable.News(writing, number: 7).Count); // not sbox's: the path, the storage, the ESP
        IReadOnlyList<MountEntry> worse = [.. writing, MountEntry.Parse("41 30 0:50 / /usr rw - tmpfs x rw")];
        Assert.Equal(FindingKind.Covered, Assert.Single(BoxTable.News(worse, number: 7, isSbox: true)).Kind);
    }

    [Fact]
    public void What_was_wrong_before_is_not_told_again() => Assert.Empty(MountJudge.Compare(
        BoxTable.Policy, BoxTable.Facts,
        new NamespaceView(1, BoxTable.Mounts("40 30 0:50 / /usr rw - tmpfs x rw"), false),
        new NamespaceView(1, BoxTable.Mounts("40 30 0:50 / /usr rw - tmpfs x rw", "41 30 0:51 / /mnt rw - tmpfs y rw"), false), null));

    [Fact]
    public void An_allowance_by_program_asks_for_a_program_of_the_sealed_system()
    {
        SentinelPolicy policy = BoxTable.Policy with { Allowed = [new Allowance(FindingKind.Covered, PathPattern.TryParse("/usr/lib/x"), ["tmpfs"], null, ["/usr/bin/mounter"], false)] };
        var finding = new Finding(FindingKind.Covered, "/usr/lib/x/y", "") { Mount = MountEntry.Parse("40 30 0:50 / /usr/lib/x/y rw - tmpfs x rw") };
        Assert.True(MountJudge.IsAllowed(policy, BoxTable.Facts, finding, 1, "/usr/bin/mounter"));
        Assert.False(MountJudge.IsAllowed(policy, BoxTable.Facts, finding, 1, null));
        Assert.False(MountJudge.IsAllowed(policy, BoxTable.Facts, finding with { Path = "/usr/bin" }, 1, "/usr/bin/mounter"));
    }

    [Theory]
    [InlineData("/usr", 0x1021uL, null)] // MS_REMOUNT | MS_BIND | MS_RDONLY
    [InlineData("/usr", 0x1020uL, FindingKind.Writable)]
    [InlineData("/usr/bin", 0x1000uL, FindingKind.Covered)]
    [InlineData("/usr", 0x40000uL, null)] // MS_PRIVATE
    [InlineData("/run/x", 0x1000uL, null)]
    public void A_call_that_was_over_too_soon_is_judged_by_its_words(string target, ulong flags, FindingKind? kind)
    {
        var call = new KernelEvent(KernelAct.Mount, 0, 1, 0, [0, 0, 0, flags, 0, 0], new Caller(1, 0)) { Text = target };
        Assert.Equal(kind, CallJudge.Judge(BoxTable.Policy, call)?.Kind);
    }

    [Theory]
    [InlineData("254:2", "/", 1, FindingKind.PhysicalWritable)]
    [InlineData("254:2", "/ostree/repo", 1, FindingKind.PhysicalWritable)]
    [InlineData("254:2", "/ostree/deploy/debian/var/log", 1, null)]
    [InlineData("254:2", "…/too/deep", 1, null)] // where it is, nobody knows
    [InlineData("254:2", "/", 0, null)] // made read-only
    [InlineData("0:77", "/", 1, null)]
    public void A_mount_that_a_call_made_writable_by_a_descriptor_is_judged_by_what_it_led_to(string device, string root, byte cleared, FindingKind? kind)
    {
        string[] number = device.Split(':');
        var call = new KernelEvent(KernelAct.SetAttributes, 0, 1, 0, [7, 0, 0x1000, 0, 32, 0], new Caller(1, 0))
        {
            ObjectDevice = (uint.Parse(number[0], System.Globalization.CultureInfo.InvariantCulture) << 20) | uint.Parse(number[1], System.Globalization.CultureInfo.InvariantCulture),
            ObjectPath = root,
            Structure = new byte[] { 0, 0, 0, 0, 0, 0, 0, 0, cleared, 0, 0, 0, 0, 0, 0, 0 },
        };
        Assert.Equal(kind, CallJudge.OfDescriptor(BoxTable.Facts, call)?.Kind);
        Assert.Null(CallJudge.OfDescriptor(BoxTable.Facts, call with { Text = "/sysroot" }));
        KernelEvent made = call with { Act = KernelAct.NewMount, Arguments = [5, 0, 1uL - cleared, 0, 0, 0], Structure = default };
        Assert.Equal(kind is null ? null : FindingKind.DetachedWritable, CallJudge.OfDescriptor(BoxTable.Facts, made)?.Kind);
    }
}
