using Sbox.Codecs;
using Sbox.Sysroot;
using Sbox.Sysroot.Victim;

// deploy|rollback DIRECTORY RUNNING [COMMIT]: DIRECTORY holds sysroot and esp.
using OstreeSysroot sysroot = OstreeSysroot.Open(
    $"{args[1]}/sysroot", new SysrootOptions { CommandLine = $"sbox.deployment={args[2]}", AssembleUki = FakeUki.Assemble });
using var deployer = new Deployer(sysroot, $"{args[1]}/esp");
if (args[0] == "deploy")
    deployer.Deploy(new DeployRequest("debian", Checksum.Parse(args[3])));
else
    deployer.Rollback();
