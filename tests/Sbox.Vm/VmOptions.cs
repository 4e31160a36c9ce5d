namespace Sbox.Vm;

/// <summary>A virtual machine to be started. One directory is one machine: its disk's changes, firmware variables and console log live there.</summary>
/// <param name="Directory">The machine's directory, made if missing. Started again with the same directory, it finds its disk as it left it.</param>
/// <param name="Disk">The raw disk image below the machine's own changes; it is never written.</param>
public sealed record VmOptions(string Directory, string Disk)
{
    /// <summary>A kernel to boot without firmware and boot loader; null boots the disk by UEFI.</summary>
    public string? Kernel { get; init; }

    /// <summary>The initrd for <see cref="Kernel"/>.</summary>
    public string? Initrd { get; init; }

    /// <summary>The command line for <see cref="Kernel"/>.</summary>
    public string? CommandLine { get; init; }

    /// <summary>Memory in MiB.</summary>
    public int MemoryMiB { get; init; } = 2048;

    /// <summary>Processors; one where they are emulated.</summary>
    public int Processors { get; init; } = 2;

    /// <summary>Whether root is logged in on the serial console by itself (a systemd credential in SMBIOS; works under a signed UKI too).</summary>
    public bool AutoLogin { get; init; } = true;

    /// <summary>
    /// Answers to a new box's first questions (docs/desktop.md), as a systemd credential of the firmware's; null for none. Root is logged in on the serial console
    /// then by credentials of that console alone: those of the machine say that it has its user.
    /// </summary>
    public string? Welcome { get; init; }

    /// <summary>Whether a network card is there; the guest reaches the host's 127.0.0.1 as 10.0.2.2.</summary>
    public bool Network { get; init; } = true;

    /// <summary>Whether the terminal of the caller is the serial console, QEMU's own keys (Ctrl-A X) included.</summary>
    public bool Interactive { get; init; }

    /// <summary>
    /// Whether systemd in the guest waits five minutes where it would wait one and a half. Under emulation on a busy host the serial
    /// port's device may come too late for its login otherwise. Reaches a UKI through SMBIOS, so a sealed box refuses it.
    /// </summary>
    public bool Patient { get; init; } = true;

    /// <summary>Whether the firmware is the one that checks signatures; its variables begin in setup mode, without keys.</summary>
    public bool SecureBoot { get; init; }

    /// <summary>Whether a TPM is there (swtpm); its state lives in the machine's directory.</summary>
    public bool Tpm { get; init; }

    /// <summary>A second disk, written in place; null for none.</summary>
    public string? DataDisk { get; init; }

    /// <summary>QEMU's <c>-drive</c> for the disk to boot from, where somebody else serves it (<see cref="RecordedDisk"/>); null for an overlay over <see cref="Disk"/>.</summary>
    public string? BootDrive { get; init; }

    /// <summary>The format of <see cref="Disk"/>: raw, or qcow2 for the changes of another machine to be looked through.</summary>
    public string DiskFormat { get; init; } = "raw";

    /// <summary>Whether <see cref="Disk"/> is in a CD drive and nothing else is there to boot from.</summary>
    public bool AsCd { get; init; }

    /// <summary>Whether <see cref="Disk"/> is a USB stick named <see cref="Stick"/>, which can be pulled out, and nothing else is there to boot from.</summary>
    public bool AsStick { get; init; }

    /// <summary>What the stick is unplugged by (<see cref="Vm.PullOut"/>).</summary>
    public const string Stick = "boot-stick";

    /// <summary>More arguments for QEMU.</summary>
    public IReadOnlyList<string> MoreArguments { get; init; } = [];
}

/// <summary>When a boot came how far, from the start of QEMU.</summary>
/// <param name="FirstOutput">The first byte on the console: firmware or kernel.</param>
/// <param name="Kernel">The kernel, or systemd, was first heard of.</param>
/// <param name="Login">The shell answered.</param>
public sealed record VmTimings(TimeSpan? FirstOutput, TimeSpan? Kernel, TimeSpan? Login)
{
    /// <inheritdoc/>
    public override string ToString() =>
        $"first output {Seconds(FirstOutput)}, kernel {Seconds(Kernel)}, login {Seconds(Login)}";

    private static string Seconds(TimeSpan? time) => time is null ? "-" : $"{time.Value.TotalSeconds:F1} s";
}

/// <summary>The machine did not do what was waited for; the message ends with the console's last lines.</summary>
/// <param name="message">What was waited for, and for how long.</param>
public sealed class VmException(string message) : Exception(message);

/// <summary>What a command in the guest printed, and how it ended.</summary>
/// <param name="Output">Its output and error output, line ends as \n, without the last one.</param>
/// <param name="ExitCode">Its exit status.</param>
public sealed record CommandResult(string Output, int ExitCode)
{
    /// <summary>The output, when the command succeeded.</summary>
    /// <exception cref="VmException">It did not.</exception>
    public string OrThrow() => ExitCode == 0 ? Output : throw new VmException($"a command in the guest ended with {ExitCode}: {Output}");
}
