using System.Text;
using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Sysroot.Tests;

/// <summary>The firmware's variables come before loader.conf: what sbox promises to boot must be what boots.</summary>
public sealed class FirmwareTests : IDisposable
{
    private readonly TestBox box = new();
    private readonly TempDir efivars = new();
    private readonly Checksum one, two, three;

    public FirmwareTests()
    {
        (one, two, three) = (box.Publish(1), box.Publish(2), box.Publish(3));
        box.Installed(one, two).Dispose();
        box.Fetch(three);
    }

    public void Dispose()
    {
        box.Dispose();
        efivars.Dispose();
    }

    [Fact]
    public void An_upgrade_makes_the_firmware_forget_the_version_it_was_told_to_boot_and_says_so()
    {
        using OstreeSysroot sysroot = Running();
        Set("LoaderEntryDefault", FileOf(two));
        Set("LoaderEntryOneShot", FileOf(two));
        using var deployer = new Deployer(sysroot, box.EspPath);
        DeployResult result = deployer.Deploy(TestBox.Request(three));
        Assert.Equal(three, Next(sysroot, deployer));
        Assert.Empty(Directory.GetFiles(efivars.Path));
        Assert.Collection(result.Notes,
            note => Assert.Contains($"LoaderEntryDefault said to boot '{FileOf(two)}'; it is cleared", note),
            note => Assert.Contains("LoaderEntryOneShot", note));
    }

    [Fact]
    public void Going_back_is_relative_to_what_the_firmware_boots()
    {
        using OstreeSysroot sysroot = Running();
        Set("LoaderEntryDefault", FileOf(one)); // key d in the menu; loader.conf says two
        using var deployer = new Deployer(sysroot, box.EspPath);
        Assert.Equal(one, Next(sysroot, deployer));
        Assert.True(deployer.IsSettled);
        RollbackResult result = deployer.Rollback();
        Assert.Equal((two, two), (result.Name.Commit, Next(sysroot, deployer)!.Value));
        Assert.Single(result.Cleanup.Notes);
    }

    [Fact]
    public void A_variable_that_means_the_same_is_left_alone()
    {
        using OstreeSysroot sysroot = Running();
        Set("LoaderEntryDefault", $"*{one.ToString()[..12]}*");
        using var deployer = new Deployer(sysroot, box.EspPath);
        RollbackResult result = deployer.Rollback(sysroot.Deployments[1].Name);
        Assert.Equal(one, Next(sysroot, deployer));
        Assert.Empty(result.Cleanup.Notes);
        Assert.Single(Directory.GetFiles(efivars.Path));
    }

    [Fact]
    public void A_cut_before_the_firmware_forgot_is_made_good_by_the_next_call()
    {
        Set("LoaderEntryDefault", FileOf(two));
        using (OstreeSysroot cut = Running(step => { if (step == "forget LoaderEntryDefault") throw new IOException("cut"); }))
        {
            using var deployer = new Deployer(cut, box.EspPath);
            Assert.Throws<IOException>(() => deployer.Deploy(TestBox.Request(three)));
        }

        using OstreeSysroot sysroot = Running();
        using var again = new Deployer(sysroot, box.EspPath);
        Assert.Equal(two, Next(sysroot, again));
        Assert.Single(again.Overrule());
        Assert.Equal(three, Next(sysroot, again));
        Assert.Empty(again.Overrule());
    }

    [Fact]
    public void A_variable_that_cannot_be_cleared_is_said_and_the_upgrade_is_whole()
    {
        using OstreeSysroot sysroot = Running();
        Directory.CreateDirectory(efivars.Of("ro"));
        Set("LoaderEntryDefault", FileOf(two), "ro/");
        Judge.OnPath("mount").Run("--bind", "-o", "ro", efivars.Of("ro"), efivars.Of("ro"));
        try
        {
            using OstreeSysroot locked = box.OpenBooted(sysroot.Deployments[0], options => options with { EfiVariables = efivars.Of("ro") });
            using var deployer = new Deployer(locked, box.EspPath);
            Assert.Contains("cannot be cleared", Assert.Single(deployer.Deploy(TestBox.Request(three)).Notes));
            Assert.Equal(two, Next(locked, deployer)); // and a status does not promise what will not be
        }
        finally
        {
            Unmounting.Unmount(efivars.Of("ro"));
        }
    }

    [Fact]
    public void A_box_in_directories_is_no_business_of_this_machines_firmware()
    {
        Set("LoaderEntryDefault", FileOf(one));
        using OstreeSysroot sysroot = box.Open();
        using var deployer = new Deployer(sysroot, box.EspPath);
        Assert.Equal(two, Next(sysroot, deployer));
        deployer.Deploy(TestBox.Request(three));
        Assert.Single(Directory.GetFiles(efivars.Path));
    }

    private OstreeSysroot Running(Action<string>? beforeStep = null)
    {
        using OstreeSysroot sysroot = box.Open();
        return box.OpenBooted(sysroot.Deployments.First(each => each.Name.Commit == two), options => options with { EfiVariables = efivars.Path, BeforeStep = beforeStep });
    }

    private static Checksum? Next(OstreeSysroot sysroot, Deployer deployer) => StatusReport.Of(sysroot, deployer, countEtcChanges: false).Next?.Name.Commit;

    private static string FileOf(Checksum commit) => $"debian-{commit.ToString()[..12]}.0.efi";

    private void Set(string name, string value, string below = "") =>
        File.WriteAllBytes(efivars.Of($"{below}{name}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"), [7, 0, 0, 0, .. Encoding.Unicode.GetBytes(value + "\0")]);
}
