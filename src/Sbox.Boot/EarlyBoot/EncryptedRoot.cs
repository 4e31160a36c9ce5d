using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// A root on a LUKS2 volume, in an initrd that has what opens it: made so at the first boot where the image asks for it, and opened by the machine's TPM, or by
/// what somebody types. Tools: cryptsetup with systemd's token for TPMs.
/// </summary>
/// <param name="load">Loads a kernel module by name.</param>
/// <param name="say">One line for the consoles.</param>
/// <remarks>docs/encryption.md has the road, docs/decisions/0070-a-disk-is-encrypted-where-it-lives.md the reasons.</remarks>
internal sealed class EncryptedRoot(Action<string> load, Action<string> say)
{
    private const string Program = $"/{EncryptedDisk.ProgramInInitrd}";
    private const string Opened = $"/dev/mapper/{EncryptedDisk.MappedName}";
    private const string SecureBoot = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    private static readonly TimeSpan TpmPause = TimeSpan.FromSeconds(2);

    private readonly ConsoleQuestion question = new();
    private readonly FirstEncryption encryption = new(say);

    /// <summary>What an encryption that was cut short left of the disk's beginning, where this initrd can encrypt; null for nothing. Before disks are looked at.</summary>
    public HeadCopy? Torn()
    {
        if (!File.Exists(Program))
            return null;
        load("efivarfs");
        try
        {
            FirmwareVariables.Mount();
            HideFirstKeys(); // also those of other disks, whichever is started
            return HeadCopy.Left();
        }
        catch (IOException unseen) // most boxes have nothing there
        {
            say($"{unseen.Message}; whether an encryption was cut short as it began cannot be seen");
            return null;
        }
    }

    /// <summary>Opens a volume, however long somebody takes to type its key.</summary>
    /// <param name="device">The device node.</param>
    /// <param name="volume">The volume's UUID.</param>
    /// <returns>The opened volume's device node.</returns>
    /// <exception cref="NoRootException">This initrd cannot, or the volume was never whole and its key is gone.</exception>
    public string Open(string device, string volume)
    {
        Prepare(device);
        string? first = FirstKey.Read(volume);
        if (first is not null && encryption.IsCutShort(device))
            encryption.GoOn(device, first);
        string? why = null;
        bool hasTpm = TpmRegister.IsThere(say);
        for (int round = 0; hasTpm && round < (first is null ? 2 : 1); round++)
        {
            if (round > 0)
                Thread.Sleep(TpmPause); // one that is busy with its own start
            ChildResult asked = encryption.Run(["open", "--token-only", device, EncryptedDisk.MappedName]);
            if (asked.ExitCode == 0)
                return By(EncryptedDisk.ByTpm);
            why = asked.LastLines.LastOrDefault();
        }

        if (first is not null && encryption.Run(["open", "--key-file", "-", device, EncryptedDisk.MappedName], first).ExitCode == 0)
            return By("the key of the first boot");
        if (first is null && encryption.IsCutShortWithoutKey(device))
            throw new NoRootException($"{device} was being encrypted when that was cut short, and the firmware has forgotten the key since: write the image anew, nothing else was ever on it");
        say($"the TPM does not give the key of {device} out ({why ?? TpmRegister.Absence()}): firmware settings, keys or the disk's place have changed, or this is not the machine");
        while (true)
        {
            string typed = question.Ask($"sbox-root: {device} is encrypted. Type its recovery key, and Enter.");
            if (encryption.Run(["open", "--key-file", "-", device, EncryptedDisk.MappedName], Normal(typed)).ExitCode == 0)
                return By("a key that was typed");
            say($"that does not open {device}");
        }
    }

    /// <summary>Closes the opened volume; nothing of it is mounted.</summary>
    public void Close()
    {
        ChildResult closed = encryption.Run(["close", EncryptedDisk.MappedName]);
        if (closed.ExitCode != 0)
            say($"the encrypted volume stays open, and its disk in use: {closed.LastLines.LastOrDefault() ?? $"cryptsetup ended with {closed.ExitCode}"}");
    }

    // The running box forgets the key of the first boot only in a boot that did without.
    private static string By(string what)
    {
        using Dir run = Dir.Open("/run");
        using Dir ours = run.MakeAndOpenDir("sbox");
        ours.TryUnlink(EncryptedDisk.OpenedByName);
        using SafeFileHandle file = ours.CreateFile(EncryptedDisk.OpenedByName);
        RandomAccess.Write(file, System.Text.Encoding.ASCII.GetBytes(what), fileOffset: 0);
        return Opened;
    }

    /// <summary>Encrypts what is on a device, all of it, where it is. Cut short, the next boot goes on.</summary>
    /// <param name="disk">The device, not mounted; its file system leaves <see cref="EncryptedDisk.SpareMebibytes"/> MiB free behind itself.</param>
    /// <returns>The volume's UUID.</returns>
    /// <exception cref="NoRootException">It must not, or could not, be done; what was on the device is there.</exception>
    public string Encrypt(ProbedDisk disk)
    {
        string device = disk.Device.Path;
        Prepare(device);
        if (!TpmRegister.IsThere(say))
            throw new NoRootException($"{device} is to be encrypted, and this machine has no TPM 2.0 that would keep its key: switch it on in the machine's setup, or make the image without --encrypt");
        if (!SecureBootIsOn())
            throw new NoRootException($"{device} is to be encrypted, and Secure Boot is off, so anybody's program could ask the TPM for the key: switch it on in the machine's setup, or make the image without --encrypt");
        string volume = $"{Guid.NewGuid():D}";
        say($"encrypting {device}, once; switched off meanwhile, it goes on at the next boot");
        string key = encryption.Begin(disk.Device.Name, disk.Superblock, volume, () => FirstKey.Make(volume));
        encryption.GoOn(device, key);
        return volume;
    }

    /// <summary>As systemd shows it, whatever of it was typed: small letters, a dash behind each eighth.</summary>
    internal static string Normal(string typed)
    {
        const string letters = "cbdefghijklnrtuv"; // those that are at the same place on all keyboards
        string bare = typed.Replace("-", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal).ToLowerInvariant();
        return bare.Length == 64 && bare.All(letters.Contains) ? string.Join('-', Enumerable.Range(0, 8).Select(part => bare.Substring(part * 8, 8))) : typed;
    }

    private void Prepare(string device)
    {
        if (!File.Exists(Program))
            throw new NoRootException($"{device} is encrypted, or to be, and this initrd has no cryptsetup: the recipe's [initrd] must say encrypted-root = true");
        foreach (string module in EncryptedDisk.Modules)
            load(module);
        FirmwareVariables.Mount();
        HideFirstKeys();
    }

    // efivarfs shows every variable to every user; what is changed here lasts as long as it is mounted, and the root's init gets it as it is.
    private void HideFirstKeys()
    {
        try
        {
            FirstKey.HideAll();
        }
        catch (LinuxException refused)
        {
            say($"every user of this box can read the keys of first boots that the firmware has, until the next boot: {refused.Message}");
        }
    }

    private static bool SecureBootIsOn() => new FirmwareVariables().Read(SecureBoot) is [1];
}
