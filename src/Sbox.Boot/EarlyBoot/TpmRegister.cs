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

    // By the firmware's table, or by a driver that has found one and not yet made its node.
    private static bool IsTold(string sys) => File.Exists($"{sys}/firmware/acpi/tables/TPM2") || Version(sys) == "2";

    // One of version 1.2 has no such keys to give.
    private static string? Version(string sys) => File.Exists($"{sys}/class/tpm/tpm0/tpm_version_major") ? File.ReadAllText($"{sys}/class/tpm/tpm0/tpm_version_major").Trim() : null;

    /// <summary>Whether a TPM may give keys out to the version that boots: the owner's pcr key signed what register 11 holds.</summary>
    /// <param name="initramfs">The initramfs' root, where systemd's stub leaves the signatures.</param>
    public static bool GivesKeys(string initramfs = "/") => StubFiles.HasSignatures(initramfs);

    /// <summary>
    /// Closes the moment in which the root's key can be had. Where neither the firmware nor the kernel tells of a TPM there is nothing to close; one that they tell of
    /// is waited for, or what runs from this root could ask it as soon as it comes. Where it stays away all that time, a boot to which it may give keys ends; any other
    /// goes on, and says so: nothing that runs there could ask for one.
    /// </summary>
    /// <param name="isSealed">Whether the boot is a sealed one: no other is given such a key.</param>
    /// <param name="givesKeys">Whether a TPM may give keys out to the version that boots, or has opened its root.</param>
    /// <param name="say">One line for the console, where a boot goes on without.</param>
    /// <param name="dev">Where device nodes are.</param>
    /// <param name="sys">Where sysfs is.</param>
    /// <param name="limit">How long a TPM is waited for; null: 30 seconds.</param>
    /// <exception cref="NoRootException">There is a TPM, and it did not do it in a sealed boot; or it did not come in one to which it may give keys.</exception>
    public static void Close(bool isSealed, bool givesKeys, Action<string> say, string dev = "/dev", string sys = "/sys", TimeSpan? limit = null)
    {
        try
        {
            // A boot that is not sealed is given no key, so nothing waits there.
            if (isSealed)
                IsThere(say, dev, sys, limit);
            string? away = Away(dev, sys);
            if (away is not null && !givesKeys)
                say($"{away}; no pcr key signed this version, so it is given no key, and the boot goes on");
            else if (away is not null)
                throw new NoRootException($"{away}, and whatever runs from here on could ask for a disk's key when it does: power the machine off and on, or switch the TPM off in its setup");
            else
                Extend(dev, sys);
        }
        catch (Exception refused) when (!isSealed && (refused is IOException or NoRootException))
        {
            say(refused.Message);
        }
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
