using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// Register 15 of the machine's TPM: zeros while the root is looked for, something else for all that runs from a root. The root's key is bound to the zeros,
/// so that a system on another disk, put in the place of the real one, cannot ask for it, though the same signed UKI started it.
/// </summary>
/// <remarks>TPM 2.0 library specification, part 3, TPM2_PCR_Extend. systemd's own units extend the same register, later.</remarks>
public static class TpmRegister
{
    /// <summary>The register's number.</summary>
    public const int Number = 15;

    /// <summary>SHA-256 of <c>sbox-root: a root was chosen</c>: computed here, a hash would bring libcrypto into the initrd.</summary>
    internal static ReadOnlySpan<byte> RootChosen =>
    [
        0xeb, 0x30, 0xb8, 0xde, 0x90, 0x0c, 0x36, 0x9b, 0x45, 0xbd, 0x5f, 0xf5, 0xc0, 0x65, 0xe6, 0xba,
        0x1d, 0x1d, 0x60, 0x07, 0xe5, 0x15, 0x76, 0x63, 0xc0, 0xe9, 0x88, 0x94, 0x80, 0x43, 0x8c, 0x0d,
    ];

    private const ushort WithSessions = 0x8002, Sha256 = 0x000B;
    private const uint PcrExtend = 0x00000182, PasswordSession = 0x40000009;
    private const int AnswerHeader = 10;
    private const string AwayName = "tpm-away";
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30), Patience = TimeSpan.FromSeconds(3), Pause = TimeSpan.FromMilliseconds(20);
    private static readonly string[] Nodes = ["tpmrm0", "tpm0"];

    /// <summary>Whether the machine has a TPM whose node is there: one that the firmware tells of, or the kernel, is waited for.</summary>
    /// <param name="say">One line for the console, where it takes long.</param>
    /// <param name="dev">Where device nodes are.</param>
    /// <param name="sys">Where sysfs is.</param>
    /// <param name="limit">How long it is waited for; null: 30 seconds.</param>
    /// <remarks>ACPI specification 6.5, 5.2.6: the table <c>TPM2</c>.</remarks>
    public static bool IsThere(Action<string> say, string dev = "/dev", string sys = "/sys", TimeSpan? limit = null)
    {
        long started = Stopwatch.GetTimestamp();
        for (bool said = false; !File.Exists($"{dev}/{Nodes[0]}"); Thread.Sleep(Pause))
        {
            TimeSpan waited = Stopwatch.GetElapsedTime(started);
            if (!IsTold(sys) || waited > (limit ?? Limit))
                return false;
            if (!said && (said = waited > Patience))
                say("waiting for the TPM");
        }

        return true;
    }

    /// <summary>What is said of a TPM that is not there.</summary>
    /// <param name="sys">Where sysfs is.</param>
    public static string Absence(string sys = "/sys") => IsTold(sys) ? "the firmware tells of one, and it did not come" : "this machine has none";

    // By the firmware's table, or by a driver that has found one and not yet made its node.
    private static bool IsTold(string sys) => File.Exists($"{sys}/firmware/acpi/tables/TPM2") || Version(sys) == "2";

    // One of version 1.2 has no such keys to give.
    private static string? Version(string sys) => File.Exists($"{sys}/class/tpm/tpm0/tpm_version_major") ? File.ReadAllText($"{sys}/class/tpm/tpm0/tpm_version_major").Trim() : null;

    /// <summary>Whether a TPM may give keys out to the version that boots: the owner's pcr key signed what register 11 holds.</summary>
    /// <param name="initramfs">The initramfs' root, where systemd's stub leaves the signatures.</param>
    public static bool GivesKeys(string initramfs = "/") => StubFiles.HasSignatures(initramfs);

    /// <summary>
    /// Closes the moment in which the root's key can be had. Where neither the firmware nor the kernel tells of a TPM there is nothing to close; one that they tell of
    /// is waited for. Where it stays away all that time the boot goes on, and says so, to the console and to whoever asks later (<see cref="OpenSince"/>): a broken TPM
    /// ends no machine's every boot. Where the signed command line asks for it (<c>sbox.tpm=required</c>), a boot to which it may give keys ends there.
    /// </summary>
    /// <param name="isSealed">Whether the boot is a sealed one: no other is given such a key.</param>
    /// <param name="givesKeys">Whether a TPM may give keys out to the version that boots, or has opened its root.</param>
    /// <param name="isRequired">Whether such a boot ends where the TPM stays away.</param>
    /// <param name="say">One line for the console, where a boot goes on without.</param>
    /// <param name="dev">Where device nodes are.</param>
    /// <param name="sys">Where sysfs is.</param>
    /// <param name="run">Where what is of one boot is kept.</param>
    /// <param name="limit">How long a TPM is waited for; null: 30 seconds.</param>
    /// <exception cref="NoRootException">There is a TPM, and it did not do it in a sealed boot; or it did not come in one to which it may give keys, and is required.</exception>
    public static void Close(bool isSealed, bool givesKeys, bool isRequired, Action<string> say, string dev = "/dev", string sys = "/sys", string run = "/run", TimeSpan? limit = null)
    {
        try
        {
            // A boot that is not sealed is given no key, so nothing waits there.
            if (isSealed)
                IsThere(say, dev, sys, limit);
            if (Away(dev, sys) is not { } away)
                Extend(dev, sys);
            else if (isRequired && isSealed && givesKeys)
                throw new NoRootException($"{away}, and this version asks for one (sbox.tpm=required): power the machine off and on, or switch the TPM off in its setup");
            else if (isSealed && givesKeys)
                LeaveOpen(away, say, run);
            else
                say($"{away}; this version is given no key by it, and the boot goes on");
        }
        catch (Exception refused) when (!isSealed && (refused is IOException or NoRootException))
        {
            say(refused.Message);
        }
    }

    /// <summary>What the console was told where a boot that may be given keys went on without its TPM; null for every other boot.</summary>
    /// <param name="run">Where what is of one boot is kept.</param>
    public static string? OpenSince(string run = "/run") => File.Exists($"{run}/sbox/{AwayName}") ? File.ReadAllText($"{run}/sbox/{AwayName}").Trim() : null;

    private static void LeaveOpen(string away, Action<string> say, string run)
    {
        string line = $"{away}; the boot goes on, and should it come yet, whoever is root here can ask it for a disk's key until the machine is switched off";
        say(line);
        using Dir all = Dir.Open(run);
        using Dir ours = all.MakeAndOpenDir("sbox");
        ours.TryUnlink(AwayName);
        using SafeFileHandle file = ours.CreateFile(AwayName);
        RandomAccess.Write(file, System.Text.Encoding.UTF8.GetBytes(line), fileOffset: 0);
    }

    // One that is told of and has no node; null for none.
    private static string? Away(string dev, string sys) => Node(dev) is null && IsTold(sys) && Version(sys) != "1"
        ? $"{dev}/{Nodes[0]}: the firmware tells of a TPM, and it did not come, so register {Number} was not extended" : null;

    private static string? Node(string dev) => Nodes.FirstOrDefault(each => File.Exists($"{dev}/{each}"));

    private static void Extend(string dev, string sys)
    {
        if (Node(dev) is not { } name || Version(sys) == "1")
            return;
        var answer = new byte[4096];
        int length;
        using (Dir devices = Dir.Open(dev))
        using (var tpm = new FileStream(devices.OpenToWrite(name), FileAccess.ReadWrite, bufferSize: 0))
        {
            tpm.Write(Command());
            length = tpm.Read(answer);
        }

        uint code = length >= AnswerHeader ? BinaryPrimitives.ReadUInt32BigEndian(answer.AsSpan(6)) : uint.MaxValue;
        if (code != 0)
            throw new NoRootException($"{dev}/{name}: register {Number} was not extended (0x{code.ToString("x", CultureInfo.InvariantCulture)}), so whatever runs from here on could ask for this disk's key: "
                + "power the machine off and on, or switch the TPM off in its setup");
    }

    /// <summary>TPM2_PCR_Extend with an empty password, one digest of SHA-256.</summary>
    internal static byte[] Command()
    {
        byte[] command =
        [
            .. Short(WithSessions), .. Int(0), .. Int(PcrExtend), .. Int(Number),
            .. Int(9), .. Int(PasswordSession), .. Short(0), 0, .. Short(0),
            .. Int(1), .. Short(Sha256), .. RootChosen,
        ];
        BinaryPrimitives.WriteUInt32BigEndian(command.AsSpan(2), (uint)command.Length);
        return command;
    }

    private static byte[] Short(ushort value) => [(byte)(value >> 8), (byte)value];

    private static byte[] Int(uint value) => [.. Short((ushort)(value >> 16)), .. Short((ushort)value)];
}
