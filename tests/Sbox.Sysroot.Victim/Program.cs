using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Sysroot;
using Sbox.Sysroot.Victim;

// bind|loosen|recovery-key DIRECTORY DEVICE: one of several processes that change a volume's keys; DIRECTORY holds .sbox, run and sys.
if (args is ["bind" or "loosen" or "recovery-key", var directory, var device])
{
    var keeper = new DiskKeeper(new EncryptedDisk(device, "u"), directory, $"{directory}/run", $"{directory}/sys");
    if (args[0] == "bind")
        keeper.Bind(Console.WriteLine);
    else
        Console.WriteLine(args[0] == "loosen" ? $"{keeper.Loosen()}" : keeper.NewRecoveryKey());
    return;
}

// deploy|rollback DIRECTORY RUNNING [COMMIT]: DIRECTORY holds sysroot and esp.
using OstreeSysroot sysroot = OstreeSysroot.Open(
    $"{args[1]}/sysroot", new SysrootOptions { CommandLine = $"sbox.deployment={args[2]}", AssembleUki = FakeUki.Assemble });
using var deployer = new Deployer(sysroot, $"{args[1]}/esp");
if (args[0] == "deploy")
    deployer.Deploy(new DeployRequest("debian", Checksum.Parse(args[3])));
else
    deployer.Rollback();
