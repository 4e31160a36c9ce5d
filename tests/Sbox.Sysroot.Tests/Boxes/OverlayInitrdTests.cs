using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Sysroot.Tests;

/// <summary>Initrds that an owner gives beside a tree's own.</summary>
public sealed class OverlayInitrdTests : IDisposable
{
    private readonly TestBox box = new();
    private readonly TempDir temp = new();

    public void Dispose()
    {
        box.Dispose();
        temp.Dispose();
    }

    private string Entry(int number) => File.ReadAllText($"{box.SysrootPath}/boot/loader/entries/ostree-{number}.conf");

    private static OstreeSysroot Reopen(TestBox box) => box.Open(TestBox.Options() with { ShortEntryNames = true });

    [Fact]
    public void They_stand_in_the_entry_as_real_ostree_writes_it_and_both_keep_what_the_other_one_installed()
    {
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2));
        box.InstalledWithoutEsp(one).Dispose();
        string mine = temp.Write("mine.img", "more for the initrd");
        using (OstreeSysroot sysroot = Reopen(box))
        {
            using var deployer = new Deployer(sysroot, espDirectory: null);
            box.Deploy(deployer, TestBox.Request(two) with { OverlayInitrds = [mine] });
        }

        string ours = Entry(2), installed = $"/ostree/initramfs-overlays/{Checksum.Of("more for the initrd"u8)}.img";
        Assert.EndsWith($"\ninitrd {installed}\n", ours);
        Assert.Equal("more for the initrd", File.ReadAllText($"{box.SysrootPath}/boot{installed}"));

        // Theirs keeps ours, and makes the same entry of the same request.
        Judge.Ostree.Run("admin", "deploy", $"--sysroot={box.SysrootPath}", $"--os={TestBox.Os}", "--retain", $"--overlay-initrd={mine}", two.ToString());
        Assert.Equal(2, Directory.GetFiles($"{box.SysrootPath}/boot/loader/entries").Count(path => File.ReadAllText(path).Contains(installed, StringComparison.Ordinal)));
        Assert.Equal(Comparable(ours), Comparable(Entry(3)));

        // Ours keeps theirs, also where all entries are written anew.
        using (OstreeSysroot sysroot = Reopen(box))
        {
            using var deployer = new Deployer(sysroot, espDirectory: null);
            deployer.Rollback(sysroot.Deployments[1].Name);
            Assert.Equal([1, 1, 0], sysroot.Deployments.Select(static each => each.Overlays.Count()));
        }
    }

    [Fact]
    public void One_goes_when_no_deployment_names_it_any_more()
    {
        (Checksum one, Checksum two, Checksum three) = (box.Publish(1), box.Publish(2), box.Publish(3));
        using InstalledBox installed = box.InstalledWithoutEsp(one);
        string directory = $"{box.SysrootPath}/boot/ostree/initramfs-overlays";
        box.Deploy(installed.Deployer, TestBox.Request(two) with { OverlayInitrds = [temp.Write("mine.img", "mine"), temp.Write("other.img", "other")] });
        Assert.Equal(2, Directory.GetFiles(directory).Length);

        // The next version has none by itself; the one before keeps its own.
        box.Deploy(installed.Deployer, TestBox.Request(three) with { Retain = true });
        Assert.Equal([0, 2, 0], installed.Sysroot.Deployments.Select(static each => each.Overlays.Count()));
        installed.Deployer.Undeploy(installed.Sysroot.Deployments[1].Name);
        Assert.Empty(Directory.GetFiles(directory));
    }

    [Fact]
    public void One_that_is_not_there_is_named_before_anything_boots_otherwise()
    {
        using InstalledBox installed = box.InstalledWithoutEsp(box.Publish(1));
        Checksum two = box.Publish(2);
        Linux.LinuxException refused = Assert.Throws<Linux.LinuxException>(() => box.Deploy(installed.Deployer, TestBox.Request(two) with { OverlayInitrds = ["/nowhere/mine.img"] }));
        Assert.Contains("/nowhere", refused.Message);
        Assert.Single(installed.Sysroot.Deployments);
    }

    // Titles count the deployments, and links the versions of the list.
    private static string Comparable(string entry) => string.Join('\n', entry.Split('\n').Where(static line => line.StartsWith("linux", StringComparison.Ordinal) || line.StartsWith("initrd", StringComparison.Ordinal)));
}
