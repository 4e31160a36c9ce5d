using System.Text.Json;
using Sbox.Codecs;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>A box that is a ghost by default, by the program itself: its owner's word, and what health writes where nothing else may be written.</summary>
public sealed class GhostDefaultTests : IDisposable
{
    // A disk of its own, of which also the superblock may be made read-only and writable again: nobody else's files are on it.
    private const string GhostsDisk = """
        mkdir /run/disk; mount -t tmpfs disk /run/disk; cp -a /sysroot/. /run/disk/; mount --bind /run/disk /sysroot
        mount -o remount,ro /run/disk; mount -o remount,bind,ro /sysroot; umount /run/disk
        line=$(cat /run/cmdline); echo "$line sbox.ghost" > /run/cmdline

        """;

    private readonly TestBox box = new() { RealStub = true };
    private readonly OstreeSysroot sysroot;
    private readonly Checksum one, two;

    public GhostDefaultTests()
    {
        (one, two) = (box.Publish(1), box.Publish(2));
        sysroot = OstreeSysroot.Init(box.SysrootPath);
        sysroot.InitStateroot(TestBox.Os);
        using var deployer = new Deployer(sysroot, box.EspPath);
        box.Deploy(deployer, one);
        box.Deploy(deployer, two);
    }

    public void Dispose()
    {
        sysroot.Dispose();
        box.Dispose();
    }

    [Fact]
    public void Its_owner_turns_it_on_and_off_and_is_told_what_was_in_the_way()
    {
        using var machine = new RunningBox(box, sysroot.Deployments[0]);
        Assert.Equal("normal", Said(machine, "ghost default"));
        Assert.Equal("ghost-in-memory", Said(machine, "ghost default in-memory"));
        machine.SetVariable("LoaderEntryDefault", Entry(two));
        JsonElement on = machine.Json("ghost default on");
        Assert.Contains("LoaderEntryDefault", on.GetProperty("notes")[0].GetString(), StringComparison.Ordinal);
        Assert.False(machine.HasVariable("LoaderEntryDefault"));
        Assert.EndsWith($"default {Entry(two)}@ghost\n", box.LoaderConf, StringComparison.Ordinal);
        Assert.Equal(("ghost", "ghost"), (Said(machine, "ghost default"), Said(machine, "status")));
        Assert.Contains("Default: This box is a ghost when nobody chooses in the boot menu", machine.Run("sbox status --esp=/run/esp"), StringComparison.Ordinal);
        Assert.Equal("normal", Said(machine, "ghost default off"));
        Assert.DoesNotContain("Default:", machine.Run("sbox status --esp=/run/esp"), StringComparison.Ordinal);
        Assert.EndsWith($"default {Entry(two)}\n", box.LoaderConf, StringComparison.Ordinal);
    }

    [Fact]
    public void A_ghost_of_which_nothing_is_on_trial_opens_its_disk_to_nobody()
    {
        using var machine = new RunningBox(box, sysroot.Deployments[0]);
        string said = machine.Run($"""
            {GhostsDisk}
            for how in --at-boot --deadline; do sbox health $how --esp=/run/esp; done 2>&1
            test ! -e /run/sbox/ghost-disk.lock
            """);
        Assert.Contains("Every required check passed", said, StringComparison.Ordinal);
    }

    [Fact]
    public void A_version_on_trial_is_found_good_in_a_ghost_whose_disk_is_read_only_before_and_after()
    {
        string own = Directory.CreateDirectory($"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/var/lib/sbox").FullName;
        File.WriteAllText($"{own}/trials", $"{two}.0 3 -\n");
        File.WriteAllText($"{box.EspPath}/loader/loader.conf", $"default {Entry(one)}@ghost\n");
        using var machine = new RunningBox(box, sysroot.Deployments[0]);
        string after = machine.Run($"""
            {GhostsDisk}
            ! touch /sysroot/file 2>/run/refused
            sbox health --at-boot --esp=/run/esp >&2
            ! touch /sysroot/file 2>>/run/refused
            grep -c 'Read-only file system' /run/refused; wc -c < /sysroot/ostree/deploy/debian/var/lib/sbox/trials
            grep ' /sysroot ' /proc/self/mountinfo | tail -n 1 | sed 's/.* - tmpfs disk //; s/,.*//'
            """);
        Assert.Equal("2\n0\nro\n", after);
        Assert.EndsWith($"default {Entry(two)}@ghost\n", box.LoaderConf, StringComparison.Ordinal);
    }

    private static string? Said(RunningBox machine, string command) => machine.Json(command).GetProperty("boots-as").GetString();

    private static string Entry(Checksum commit) => $"debian-{commit.ToString()[..12]}.0.efi";
}
