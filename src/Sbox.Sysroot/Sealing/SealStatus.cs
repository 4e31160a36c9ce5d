using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>How far the running system is sealed, by what can be seen from inside.</summary>
/// <param name="FirmwareEnforces">Whether the firmware says that it checks what it starts (Secure Boot).</param>
/// <param name="CommandLineAsks">Whether the kernel's command line asks for verity.</param>
/// <param name="FilesVerified">Whether the kernel refuses a file of <c>/</c> that is not sealed or not as it was: the overlay has verity=require.</param>
public sealed record SealStatus(bool FirmwareEnforces, bool CommandLineAsks, bool FilesVerified)
{
    /// <summary>Whether the whole chain is closed, from the firmware to each read.</summary>
    public bool IsSealed => FirmwareEnforces && CommandLineAsks && FilesVerified;

    /// <summary>Of the running machine.</summary>
    /// <param name="commandLine">The running kernel's.</param>
    public static SealStatus Of(KernelArguments commandLine) => new(
        SealPolicy.FirmwareEnforces(), RootConfig.AsksForVerity(commandLine),
        MountTable.At("/") is { Type: "overlay" } root && root.SuperOptions.Split(',').Contains("verity=require"));

    /// <summary>As a person reads it.</summary>
    public override string ToString() => this switch
    {
        { IsSealed: true } => "sealed: the firmware checks what boots, and every file is verified as it is read",
        { CommandLineAsks: false, FilesVerified: false } => "not sealed",
        { FilesVerified: true } => "half sealed: every file is verified as it is read, but the firmware checks nothing (Secure Boot is off)",
        _ => "broken: verity is asked for, and files are not verified",
    };
}
