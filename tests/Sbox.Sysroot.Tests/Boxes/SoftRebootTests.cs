using Sbox.Boot;
using Sbox.Codecs;

namespace Sbox.Sysroot.Tests;

/// <summary>Which versions a soft reboot may go to, and what a machine says of itself when one went there.</summary>
public sealed class SoftRebootTests : IDisposable
{
    private const string Target = "usr/lib/systemd/system/soft-reboot.target", Unit = "usr/lib/systemd/system/sbox-next-root.service";
    private static readonly (string, string)[] WithUnits = [(Target, "unit"), (Unit, "unit")];
    private readonly TestBox box = new();
    private readonly TempDir run = new();

    public void Dispose()
    {
        box.Dispose();
        run.Dispose();
    }

    private SoftRoots Roots => new(run.Path);

    [Fact]
    public void The_same_kernel_is_gone_to_whatever_its_initrd()
    {
        box.InstalledWithoutEsp(box.PublishWith(1, WithUnits), box.PublishWith(2, [.. WithUnits, ("usr/lib/modules/6.12.1/initramfs.img", "another initrd")])).Dispose();
        using OstreeSysroot running = Running(1);
        Assert.NotEqual(running.Deployments[0].BootChecksum, running.Deployments[1].BootChecksum);
        new SoftReboot(running, Roots).Prepare(running.Deployments[0]);
        Assert.Equal(running.Deployments[0].Name, Roots.Next);
    }

    [Fact]
    public void Another_kernel_and_other_arguments_of_it_need_the_machine_to_be_restarted()
    {
        box.InstalledWithoutEsp(box.PublishWith(1, WithUnits), box.PublishWith(2, [.. WithUnits, ("usr/lib/modules/6.12.1/vmlinuz", "another kernel")])).Dispose();
        using OstreeSysroot running = Running(1);
        NoSoftRebootException refused = Refused(running);
        Assert.True(refused.KernelDiffers);
        Assert.EndsWith("no soft reboot goes there: it has another kernel", refused.Message);

        using (var deployer = new Deployer(running, espDirectory: null))
            deployer.Deploy(TestBox.Request(running.Booted!.Name.Commit) with { Arguments = KernelArguments.Parse("root=LABEL=sbox-root debug") });
        refused = Refused(running);
        Assert.True(refused.KernelDiffers);
        Assert.Contains("wants 'root=LABEL=sbox-root debug'", refused.Message);
    }

    [Theory]
    [InlineData("sbox.ghost", "this boot is a ghost")]
    [InlineData("sbox.verity=required", "this boot is sealed")]
    public void A_ghost_and_a_sealed_boot_go_through_the_firmware(string argument, string why)
    {
        box.InstalledWithoutEsp(box.PublishWith(1, WithUnits), box.PublishWith(2, WithUnits)).Dispose();
        using OstreeSysroot running = Running(1, argument);
        NoSoftRebootException refused = Refused(running);
        Assert.False(refused.KernelDiffers);
        Assert.Contains(why, refused.Message);
        Assert.Null(Roots.Next);
    }

    [Fact]
    public void What_cannot_make_the_next_root_is_not_asked_to()
    {
        box.InstalledWithoutEsp(box.PublishWith(1, (Target, "unit")), box.PublishWith(2, WithUnits)).Dispose();
        using OstreeSysroot running = Running(1);
        Assert.EndsWith("what runs has no sbox-next-root.service", Refused(running).Message);
        Assert.EndsWith("it runs already", Assert.Throws<NoSoftRebootException>(() => new SoftReboot(running, Roots).Prepare(running.Booted!)).Message);
        using OstreeSysroot elsewhere = box.Open();
        Assert.EndsWith("no version of this sysroot runs", Refused(elsewhere).Message);
    }

    [Fact]
    public void Where_a_soft_reboot_goes_is_kept_until_somebody_says_otherwise()
    {
        DeploymentName one = new("debian", Checksum.Of("one"u8), 0), two = new("debian", Checksum.Of("two"u8), 3);
        Assert.Null(Roots.Next);
        Roots.Next = null;
        Roots.Next = one;
        Assert.Equal(one, Roots.Next);
        Roots.Next = two;
        Assert.Equal(two, Roots.Next);
        Assert.Null(Roots.Of("/"));
        Roots.Note("/", one);
        Assert.Equal((one, two), (Roots.Of("/"), Roots.Next));
        Roots.Next = null;
        Assert.Equal((one, null), (Roots.Of("/"), Roots.Next));
    }

    private OstreeSysroot Running(int index, string more = "quiet")
    {
        using OstreeSysroot looked = box.Open();
        DeploymentName name = looked.Deployments[index].Name;
        return box.Open(TestBox.Options() with { CommandLine = $"root=LABEL=sbox-root sbox.deployment={name} {more}" });
    }

    private NoSoftRebootException Refused(OstreeSysroot running) => Assert.Throws<NoSoftRebootException>(() => new SoftReboot(running, Roots).Prepare(running.Deployments[0]));
}
