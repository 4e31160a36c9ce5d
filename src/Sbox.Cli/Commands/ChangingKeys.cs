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

    private ChangingKeys(Box box, Deployer? deployer, FirmwareState firmware) =>
        (this.box, this.deployer, this.firmware, before) = (box, deployer, firmware, box.Sysroot.BootedName is { } booted && deployer is not null ? Authority(booted, deployer, firmware) : new HashSet<string>());

    /// <summary>Looks at what starts the version that runs, before anything is deployed.</summary>
    public static ChangingKeys Before(Box box, Deployer deployer)
    {
        bool counts = box.IsThisMachine && deployer.Esp is not null && DiskKeeper.Of(box.Sysroot.Path) is not null;
        return new ChangingKeys(box, counts ? deployer : null, counts ? FirmwareState.Read(FirmwareVariables.Efivarfs) : new FirmwareState(null, null, null));
    }

    /// <summary>Where other certificates start what boots next: loosens what binds the disk.</summary>
    /// <returns>What a person is to be told.</returns>
    public IReadOnlyList<string> After()
    {
        if (deployer is null || before.Count == 0 || box.Sysroot.Deployments is not [var next, ..])
            return [];
        return before.SetEquals(Authority(next.Name, deployer, firmware)) || !Loosen() ? [] : [Words];
    }

    /// <summary>Has an encrypted disk open at the next boot whatever the firmware checks.</summary>
    /// <returns>False where no disk is encrypted, or it does so already.</returns>
    public static bool Loosen() => Directory.Exists("/sysroot/ostree") && DiskKeeper.Of("/sysroot") is { } keeper && keeper.Loosen();

    private static IReadOnlySet<string> Authority(DeploymentName name, Deployer deployer, FirmwareState firmware) =>
        BootAuthority.Of(deployer.Esp!.Programs(), name, firmware.Certificates ?? []);
}
