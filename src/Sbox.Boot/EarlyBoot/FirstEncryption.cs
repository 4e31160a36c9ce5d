using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs.Luks2;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// Makes a volume of a partition where it is, so that a power cut at any moment costs nothing: the next boot goes on, or begins anew with all that was there.
/// Two steps: the header takes its place, behind which a <see cref="HeadCopy"/> stands; then cryptsetup moves and encrypts what is behind it, and keeps its own
/// account of that in the header, which is there twice.
/// </summary>
/// <param name="say">One line for the consoles.</param>
/// <param name="program">Where cryptsetup is.</param>
/// <param name="variables">Where efivarfs is.</param>
/// <param name="sys">Where sysfs is.</param>
/// <param name="dev">Where device nodes are.</param>
internal sealed class FirstEncryption(
    Action<string> say, string program = $"/{EncryptedDisk.ProgramInInitrd}", string variables = FirmwareVariables.Efivarfs, string sys = "/sys", string dev = "/dev")
{
    private static readonly Dictionary<string, string> WithoutUdev = new() { ["DM_DISABLE_UDEV"] = "1" };

    /// <summary>Puts the header in place.</summary>
    /// <param name="device">The partition's name: <c>vda2</c>; not mounted, and its file system leaves <see cref="EncryptedDisk.SpareMebibytes"/> MiB free behind itself.</param>
    /// <param name="found">That file system; the volume gets its label.</param>
    /// <param name="volume">The UUID that the volume gets.</param>
    /// <param name="makeKey">Makes what opens it from then on: behind the copy's variable, so that no key is left of a volume that never was.</param>
    /// <returns>That key.</returns>
    /// <exception cref="NoRootException">It could not be done; what was on the device is there.</exception>
    /// <exception cref="LinuxException">The disk or the firmware refused; so it is at the next boot.</exception>
    public string Begin(string device, Superblock found, string volume, Func<string> makeKey)
    {
        HeadCopy copy = HeadCopy.Make(device, found, volume, variables, sys, dev);
        string key = makeKey();
        ChildResult done = Run(
        [
            "reencrypt", "--encrypt", "--init-only", "--type", "luks2", "--batch-mode", "--reduce-device-size", $"{EncryptedDisk.HeaderMebibytes}M", "--label", found.Label, "--uuid", volume,
            "--cipher", "aes-xts-plain64", "--key-size", "512", "--sector-size", "4096", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", "-", $"{dev}/{device}",
        ], key);
        if (done.ExitCode != 0)
        {
            copy.PutBack(device);
            throw new NoRootException($"{dev}/{device} was not encrypted: {Reason(done)}");
        }

        // cryptsetup syncs the header, and not what it moved out of its way.
        using (Dir devices = Dir.Open(dev))
        using (SafeFileHandle handle = devices.OpenToWrite(device))
            Durable.Sync(handle, devices.Of(device));
        copy.Forget();
        return key;
    }

    /// <summary>Whether a volume is encrypted only in part, as an encryption leaves it that was cut short. One that is given another key is whole, and not so.</summary>
    /// <param name="device">The device node.</param>
    public bool IsCutShort(string device) => Look(device) is { IsBeingEncrypted: true };

    /// <summary>Whether it is so, and nobody has a key of it where the firmware has not: no TPM was given one yet, and no person.</summary>
    /// <param name="device">The device node.</param>
    public bool IsCutShortWithoutKey(string device) => Look(device) is { IsBeingEncrypted: true, HasKeptKey: false };

    private Luks2Progress? Look(string device)
    {
        var text = new StringBuilder();
        return Run(["luksDump", "--dump-json-metadata", device], onLine: line => text.Append(line).Append('\n')).ExitCode == 0 ? Luks2Progress.Parse(text.ToString()) : null;
    }

    /// <summary>Encrypts what is left to be.</summary>
    /// <param name="device">The device node.</param>
    /// <param name="key">Opens it.</param>
    /// <exception cref="NoRootException">It could not be done; it goes on at the next boot.</exception>
    public void GoOn(string device, string key)
    {
        // A power cut in the middle of a piece leaves one that only this looks after; where nothing is to be done it says so, and ends with 0.
        ChildResult mended = Run(["repair", "--batch-mode", "--key-file", "-", device], key);
        if (!IsCutShort(device))
            return; // that was the last piece
        if (mended.ExitCode != 0)
            throw new NoRootException($"{device} is encrypted in part, and cryptsetup could not mend where that was cut short: {Reason(mended)}; nothing of it was changed, and the next boot tries again");
        if (End(device))
            return;
        ChildResult done = Run(["reencrypt", "--resume-only", "--batch-mode", "--key-file", "-", "--progress-frequency", "10", device], key, say);
        if (done.ExitCode != 0)
            throw new NoRootException($"{device} is encrypted in part, and the rest was not: {Reason(done)}; the next boot tries again");
    }

    // Cut short behind the last piece, nothing is left to encrypt, and cryptsetup does not see it. As it does, one copy after the other: torn, the next boot has the other.
    private bool End(string device)
    {
        using Dir devices = Dir.Open(dev);
        using SafeFileHandle handle = devices.OpenToWrite(Path.GetFileName(device));
        var both = new byte[2 * Luks2Header.Length];
        for (int filled = 0, read; filled < both.Length; filled += read)
        {
            read = RandomAccess.Read(handle, both.AsSpan(filled), filled);
            if (read <= 0)
                return false;
        }

        if (Luks2Header.Parse(both)?.Ended() is not { } ended)
            return false;
        foreach (bool second in (bool[])[false, true])
        {
            RandomAccess.Write(handle, ended.Next(second), second ? Luks2Header.Length : 0);
            Durable.Sync(handle, device);
        }

        return true;
    }

    /// <summary>Runs cryptsetup; one that does not start is one that ended with 127.</summary>
    public ChildResult Run(IReadOnlyList<string> arguments, string? input = null, Action<string>? onLine = null)
    {
        try
        {
            return ChildProcess.Run(new ChildCommand(program, arguments) { Input = input, Environment = WithoutUdev }, onLine);
        }
        catch (ChildFailedException refused) // it did not start
        {
            return new ChildResult(refused.ExitCode, refused.LastLines);
        }
    }

    private static string Reason(ChildResult result) => result.LastLines.LastOrDefault() ?? $"cryptsetup ended with {result.ExitCode}";
}
