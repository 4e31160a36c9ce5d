using System.Security.Cryptography;
using Sbox.Codecs;

namespace Sbox.Sysroot.Tests;

/// <summary>What a box whose firmware checks does where the signatures of a deployment are not there (any more).</summary>
public sealed class LostSealTests : IDisposable
{
    private readonly TestBox box = new(inMemory: true);

    public void Dispose() => box.Dispose();

    [Fact]
    public void A_UKI_that_could_only_be_written_unsigned_is_refused_before_anything_is_written()
    {
        Checksum one = box.Publish(1), two = box.Publish(2);
        using InstalledBox installed = box.Installed(one, two);
        File.Delete($"{box.EspPath}/EFI/Linux/{UnifiedKernel.FileName(installed.Sysroot.Deployments[1].Name)}");
        string[] before = Files();
        using (Deployer checkedByFirmware = With(installed.Sysroot, firmwareChecks: true))
        {
            Assert.Equal(one, Assert.Throws<UnsealedCommitException>(() => checkedByFirmware.Finish()).Commit);
            Assert.Equal(one, Assert.Throws<UnsealedCommitException>(() => checkedByFirmware.Rollback()).Commit);
            Assert.Equal([two, one], installed.Sysroot.Deployments.Select(static each => each.Name.Commit));
        }

        Assert.Equal(before, Files());
        using Deployer other = With(installed.Sysroot, firmwareChecks: false);
        other.Finish();
        Assert.Equal(before.Length + 1, Files().Length);
    }

    [Fact]
    public void What_its_owner_deploys_unsealed_all_the_same_leaves_the_signed_boot_loader_where_it_is()
    {
        using InstalledBox installed = box.Installed(box.Publish(1));
        Checksum two = box.Publish(2);
        string loader = File.ReadAllText($"{box.EspPath}/EFI/BOOT/BOOTX64.EFI");
        using Deployer deployer = With(installed.Sysroot, firmwareChecks: true);
        box.Fetch(two);
        Assert.Throws<UnsealedCommitException>(() => deployer.Deploy(TestBox.Request(two)));
        deployer.Deploy(TestBox.Request(two) with { AllowUnsealed = true });
        Assert.Equal(2, box.Ukis().Count);
        Assert.Equal(loader, File.ReadAllText($"{box.EspPath}/EFI/BOOT/BOOTX64.EFI"));
        Assert.Equal(loader, File.ReadAllText($"{box.EspPath}/EFI/systemd/systemd-bootx64.efi"));
    }

    private Deployer With(OstreeSysroot sysroot, bool firmwareChecks) => new(sysroot, box.EspPath, new SealPolicy([], "a test") { FirmwareChecks = firmwareChecks });

    private string[] Files() => [.. Directory.GetFiles(box.EspPath, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
        .Select(static file => $"{file} {Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(file)))}")];
}
