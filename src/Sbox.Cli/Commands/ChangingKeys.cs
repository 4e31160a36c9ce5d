using Sbox.Boot;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>
/// An encrypted disk opens for the firmware's keys as they are, and for the certificates by which it starts what it starts. Where one of them changes with the next
/// boot, the disk is told beforehand.
/// </summary>
internal sealed class ChangingKeys
{
    /// <summary>What a person is told then.</summary>
    public const string Words = "This machine's TPM gives the disk's key out at the next boot whatever the firmware checks, and after that with Secure Boot as it is then. Reboot soon, and keep the machine in sight until then";

    private readonly Deployer? deployer;
    private readonly IReadOnlySet<string> before;
    private readonly FirmwareState firmware;
    private readonly Box box;
    private bool loosened;

    private ChangingKeys(Box box, Deployer? deployer, FirmwareState firmware) =>
        (this.box, this.deployer, this.firmware, before) = (box, deployer, firmware, box.Sysroot.BootedName is { } booted && deployer is not null ? Authority(booted, deployer, firmware) : new HashSet<string>());

    /// <summary>Looks at what starts the version that runs, before anything is deployed, and has the disk told before another boots next: no cut then asks for the recovery key.</summary>
    public static ChangingKeys Before(Box box, Deployer deployer)
    {
        bool counts = box.IsThisMachine && deployer.Esp is not null && DiskKeeper.Of(box.Sysroot.Path) is not null;
        var keys = new ChangingKeys(box, counts ? deployer : null, counts ? FirmwareState.Read(FirmwareVariables.Efivarfs) : new FirmwareState(null, null, null));
        deployer.BeforeDefault = keys.Follow;
        return keys;
    }

    /// <summary>Where other certificates start what boots next, also where a command before was cut short: loosens what binds the disk, if that was not done yet.</summary>
    /// <returns>What a person is to be told.</returns>
    public IReadOnlyList<string> After()
    {
        if (box.Sysroot.Deployments is [var next, ..])
            Follow(next.Name);
        return loosened ? [Words] : [];
    }

    private void Follow(DeploymentName next)
    {
        if (deployer is not null && before.Count > 0 && !before.SetEquals(Authority(next, deployer, firmware)))
            loosened |= Loosen();
    }

    /// <summary>Has an encrypted disk open at the next boot whatever the firmware checks.</summary>
    /// <returns>False where no disk is encrypted, or it does so already.</returns>
    public static bool Loosen() => Directory.Exists("/sysroot/ostree") && DiskKeeper.Of("/sysroot") is { } keeper && keeper.Loosen();

    private static IReadOnlySet<string> Authority(DeploymentName name, Deployer deployer, FirmwareState firmware) =>
        BootAuthority.Of(deployer.Esp!.Programs(), name, firmware.Certificates ?? []);
}
