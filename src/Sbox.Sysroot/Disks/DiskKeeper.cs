using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs.SecureBoot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>What a box's encrypted disk is, at one look.</summary>
/// <param name="Disk">The volume.</param>
/// <param name="Keys">Who can open it.</param>
/// <param name="FirmwareState">Register 7 now; null where this machine has no TPM.</param>
/// <param name="IsFirst">Whether the key of its first boot still opens it: the rest of that boot's work is to be done.</param>
public sealed record DiskState(EncryptedDisk Disk, DiskKeys Keys, string? FirmwareState, bool IsFirst)
{
    /// <summary>The pcr key (PEM) that signed the version that runs; null where none did.</summary>
    public string? Signer { get; init; }

    /// <summary>This boot, as the kernel calls it; null where that is not known.</summary>
    public string? Boot { get; init; }

    /// <summary>Whether the TPM gives the key out to versions that the running one's pcr key signed, with the firmware as it is now, and only so.</summary>
    public bool IsBound => FirmwareState is not null && Keys.Bindings.Any(each => each.IsFor(FirmwareState, Signer));

    /// <summary>Whether it gives it out for the next boot whatever the firmware checks.</summary>
    public bool IsLoose => Keys.Bindings.Any(static each => each.IsLoose);

    /// <summary>Whether it does so for good, by what another program bound.</summary>
    public bool IsLooseForGood => Keys.Bindings.Any(static each => each.IsLooseForGood);

    /// <summary>Whether somebody has a recovery key.</summary>
    public bool HasRecoveryKey => Keys.RecoverySlots.Count > 0;
}

/// <summary>
/// Keeps a box's encrypted disk opening by itself: bound to the owner's pcr key (register 11), to the moment before a root runs (register 15), and to the
/// firmware's Secure Boot as it is (register 7). Tools: cryptsetup, systemd-cryptenroll.
/// </summary>
/// <param name="disk">The volume.</param>
/// <param name="sysroot">The physical root in it.</param>
/// <param name="run">Where sbox keeps what is of one boot: also the lock that everything takes which changes the volume's keys.</param>
/// <param name="sys">Where sysfs is.</param>
/// <remarks>docs/encryption.md.</remarks>
public sealed partial class DiskKeeper(EncryptedDisk disk, string sysroot, string run = "/run/sbox", string sys = "/sys")
{
    private const string LockName = "disk.lock";
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2), Pause = TimeSpan.FromMilliseconds(100); // a TPM takes seconds for a key

    private const string OwnersKey = "/run/systemd/tpm2-pcr-public-key.pem", BootId = "/proc/sys/kernel/random/boot_id", Nothing = "none";
    private static readonly string NoRootYet = $"{TpmRegister.Number}:sha256={new string('0', 64)}";
    private static readonly string[] Quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]; // the keys are random: nobody guesses them, however fast

    private string Register7 => $"{sys}/class/tpm/tpm0/pcr-sha256/7";

    private string KeyFile => $"{sysroot}/{EncryptedDisk.KeyFile}";

    /// <summary>Finds the volume below a mounted physical root; null where it is on none.</summary>
    public static DiskKeeper? Of(string sysroot) =>
        MountTable.At(sysroot) is { } mount && EncryptedDisk.Below(mount.Device) is { } disk ? new DiskKeeper(disk, sysroot) : null;

    /// <summary>Looks at it, for root.</summary>
    /// <exception cref="ChildFailedException">cryptsetup is not installed, or cannot read it.</exception>
    public DiskState Look() => new(disk, Keys(), File.Exists(Register7) ? File.ReadAllText(Register7).Trim().ToLowerInvariant() : null, FirstKey.Read(disk.Uuid) is not null) { Signer = Signer(), Boot = Boot() };

    /// <summary>
    /// Does what is left of the first boots (its key goes in a boot that the TPM has opened), and binds the volume to the firmware as it is now. What was bound to other revocations (dbx) goes, and what was loosened
    /// in an earlier boot; of what is left, the firmware with another set of keys, the volume opens there too.
    /// </summary>
    /// <param name="say">Told what is done, a line each.</param>
    /// <param name="anotherIsNext">Whether another version than the one that runs boots next: what was loosened for it stays loose.</param>
    /// <exception cref="ChildFailedException">A tool refused; the volume opens as it did before.</exception>
    /// <exception cref="DiskBusyException">Another changes its keys, and went on doing so.</exception>
    public void Bind(Action<string> say, bool anotherIsNext = false)
    {
        using FileLock held = Hold();
        FirstKey.HideAll(); // the initrd has done it, if it is not an older one
        string? first = FirstKey.Read(disk.Uuid);
        MakeOwnKey(first);
        DiskState state = Look();
        if (state.FirmwareState is not { } now)
            throw new IOException($"{disk.Path}: this machine has no TPM that the kernel knows ({Register7}), so its key cannot be kept there");
        string revoked = Revoked();
        if (!state.IsBound)
        {
            RequireSecureBoot();
            Enroll(now, revoked);
            say($"{disk.Path} opens by this machine's TPM, with Secure Boot as it is now");
        }

        Clean(state, revoked, anotherIsNext, say);
        if (first is not null && !WasOpenedByTpm())
            say($"the key of the first boot opens {disk.Path} until a boot that the TPM has opened: the next one, if the TPM does");
        else if (first is not null)
        {
            // 2: it opens nothing any more; that is what is wanted.
            if (Run("cryptsetup", ["luksRemoveKey", "--batch-mode", "--key-file", "-", disk.Path], first) is { ExitCode: not (0 or 2) } refused)
                throw new IOException($"{disk.Path}: the key of the first boot was not taken out: {refused.LastLines.LastOrDefault()}");
            FirstKey.Forget(disk.Uuid);
            say($"the key of the first boot is gone from {disk.Path} and from the firmware's variables");
        }
    }

    /// <summary>Takes out what opens the volume where it should not: by our own bindings only, whole or left by a cut.</summary>
    /// <param name="state">Who can open it, the firmware's state and the running version's pcr key; there is a binding for those already.</param>
    /// <param name="revoked">What the firmware's dbx holds.</param>
    /// <param name="anotherIsNext">Whether what is loose was loosened for a version that is still to boot.</param>
    /// <param name="say">Told what is done, a line each.</param>
    internal void Clean(DiskState state, string revoked, bool anotherIsNext, Action<string> say)
    {
        DiskKeys keys = state.Keys;
        foreach (TpmBinding old in keys.Bindings.Where(each => each.IsOurs && !each.IsFor(state.FirmwareState!, state.Signer) && IsOver(each)))
        {
            Remove(old);
            say(!old.IsWhole ? $"a key of {disk.Path} that was bound to the TPM and cut short then is gone"
                : old.IsLoose ? $"{disk.Path} opens only so from now on" : $"{disk.Path} no longer opens with the firmware of before the revocation");
        }

        foreach (int token in keys.UnusedTokens)
            Check("cryptsetup", ["token", "remove", "--token-id", $"{token}", disk.Path], null);
        foreach (TpmBinding other in keys.Bindings.Where(static each => each.IsLooseForGood))
            say($"{disk.Path} opens whatever the firmware checks, by slot {other.Slot}, which another program bound to the TPM: systemd-cryptenroll --wipe-slot={other.Slot} {disk.Path} ends that");

        // What was loosened in this boot is for the next one: the firmware checks what it did before until then.
        bool IsOver(TpmBinding old) => (old.IsWhole, old.IsLoose) switch
        {
            (false, _) => true,
            (true, true) => !anotherIsNext && (old.LoosenedIn is null || old.LoosenedIn != state.Boot),
            (true, false) => old.Revoked != revoked,
        };
    }

    // What the TPM would do is known when it has done it: no tool can ask it now, when register 15 is closed.
    private bool WasOpenedByTpm()
    {
        string file = $"{run}/{EncryptedDisk.OpenedByName}";
        return File.Exists(file) && File.ReadAllText(file) == EncryptedDisk.ByTpm;
    }

    // Bound to a firmware that checks nothing, the TPM would give the key to anybody's program, for as long as the binding is there.
    private void RequireSecureBoot()
    {
        if (Sbox.Sysroot.FirmwareState.Read(FirmwareVariables.Efivarfs) is not { SecureBoot: true, SetupMode: false })
            throw new IOException($"{disk.Path}: Secure Boot is off, or the firmware takes keys from anybody, so the disk is not bound to it: switch Secure Boot on in the machine's setup and boot again");
    }

    /// <summary>Lets the TPM give the key out at the next boot whatever the firmware's keys are by then: before they are changed.</summary>
    /// <returns>False where it is so already.</returns>
    /// <exception cref="DiskBusyException">Another changes its keys, and went on doing so.</exception>
    public bool Loosen()
    {
        using FileLock held = Hold();
        if (Look() is var state && state.Keys.Bindings.Any(each => each.IsLoose && each.IsWhole && each.GoesBy(state.Signer)))
            return false;
        Enroll(null, Revoked());
        return true;
    }

    /// <summary>Makes a new recovery key; one that there was opens nothing any more.</summary>
    /// <returns>The key: shown once, kept nowhere.</returns>
    /// <exception cref="DiskBusyException">Another changes the volume's keys, and went on doing so.</exception>
    public string NewRecoveryKey()
    {
        using FileLock held = Hold();
        RequireOwnKey();
        IReadOnlyList<int> before = Keys().RecoverySlots;
        string? key = null;
        ChildProcess.Check(
            new ChildCommand("systemd-cryptenroll", [$"--unlock-key-file={KeyFile}", "--recovery-key", disk.Path]),
            line => key ??= RecoveryKey().Match(line) is { Success: true } match ? match.Value : null);
        if (key is null)
            throw new IOException($"{disk.Path}: systemd-cryptenroll made a recovery key and did not show it");
        foreach (int slot in before)
            ChildProcess.Check(new ChildCommand("systemd-cryptenroll", [$"--wipe-slot={slot}", disk.Path]));
        return key;
    }

    // A change is several writes of the header, and what is made between two of them looks like one that was cut short.
    private FileLock Hold()
    {
        Directory.CreateDirectory(run);
        using Dir directory = Dir.Open(run);
        for (long started = Stopwatch.GetTimestamp(); ; Thread.Sleep(Pause))
        {
            if (FileLock.TryTake(directory, LockName, mode: 0x180 /* 0600: who may not read it keeps nobody out */) is { } taken)
                return taken;
            if (Stopwatch.GetElapsedTime(started) > Patience)
                throw new DiskBusyException(directory.Of(LockName), disk.Path);
        }
    }

    private DiskKeys Keys()
    {
        var text = new System.Text.StringBuilder();
        ChildProcess.Check(new ChildCommand("cryptsetup", ["luksDump", "--dump-json-metadata", disk.Path]), line => text.Append(line).Append('\n'));
        return DiskKeys.Parse(text.ToString());
    }

    /// <summary>Makes the box's own key of the disk, where there is none. Written before it is a key of the volume, under a name that says so: cut short, the next time goes on with it.</summary>
    /// <param name="first">A key that opens the volume.</param>
    internal void MakeOwnKey(string? first)
    {
        using Dir root = Dir.Open(sysroot);
        if (root.Exists(EncryptedDisk.KeyFile))
            return;
        if (first is null)
            RequireOwnKey();
        using Dir directory = root.MakeAndOpenDir(EncryptedDisk.Directory, 0x1C0 /* 0700 */);
        string name = Path.GetFileName(EncryptedDisk.KeyFile), made = $"{name}.new";
        bool isKey = directory.Exists(made) && Run("cryptsetup", ["open", "--test-passphrase", "--key-file", directory.Of(made), disk.Path], null).ExitCode == 0;
        if (!isKey)
        {
            directory.TryUnlink(made);
            using (SafeFileHandle file = directory.CreateFile(made, 0x180 /* 0600 */))
            {
                RandomAccess.Write(file, System.Text.Encoding.ASCII.GetBytes(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32))), fileOffset: 0);
                Durable.Sync(file, directory.Of(made));
            }

            Check("cryptsetup", ["luksAddKey", "--batch-mode", "--key-file", "-", .. Quick, disk.Path, directory.Of(made)], first);
        }

        directory.Rename(made, directory, name);
        directory.TryUnlink(Path.GetFileName(EncryptedDisk.Marker));
        Durable.Sync(directory);
    }

    private void RequireOwnKey()
    {
        if (!File.Exists(KeyFile))
            throw new DiskKeyMissingException(KeyFile, disk.Path);
    }

    private void Enroll(string? firmwareState, string revoked)
    {
        RequireOwnKey();
        int? slot = null;
        ChildProcess.Check(
            new ChildCommand("systemd-cryptenroll",
            [
                $"--unlock-key-file={KeyFile}", "--tpm2-device=auto", $"--tpm2-public-key={OwnersKey}", "--tpm2-public-key-pcrs=11",
                $"--tpm2-pcrs={(firmwareState is null ? "" : "7+")}{NoRootYet}", disk.Path,
            ]),
            line => slot ??= EnrolledSlot().Match(line) is { Success: true } match ? int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture) : null);
        if (slot is not { } enrolled)
            throw new IOException($"{disk.Path}: systemd-cryptenroll did not say in which slot the TPM's key is");
        Check("cryptsetup", ["token", "import", "--json-file", "-", disk.Path], DiskKeys.Token(enrolled, firmwareState, revoked, firmwareState is null ? Boot() : null));
    }

    private void Remove(TpmBinding binding)
    {
        Check("cryptsetup", ["luksKillSlot", "--batch-mode", disk.Path, $"{binding.Slot}"], null);
        foreach (int token in binding.Tokens)
            Check("cryptsetup", ["token", "remove", "--token-id", $"{token}", disk.Path], null);
    }

    // sbox-root leaves there what the running version's UKI holds.
    private static string? Signer() => File.Exists(OwnersKey) ? File.ReadAllText(OwnersKey) : null;

    private static string? Boot() => File.Exists(BootId) ? File.ReadAllText(BootId).Trim() : null;

    // A digest of what the firmware refuses.
    private static string Revoked()
    {
        string file = $"{FirmwareVariables.Efivarfs}/{EfiVariable.Dbx.FileName}";
        return File.Exists(file) ? Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(file))) : Nothing;
    }

    private static ChildResult Run(string program, IReadOnlyList<string> arguments, string? input) => ChildProcess.Run(new ChildCommand(program, arguments) { Input = input });

    private static void Check(string program, IReadOnlyList<string> arguments, string? input) => ChildProcess.Check(new ChildCommand(program, arguments) { Input = input });

    [GeneratedRegex("enrolled as key slot ([0-9]+)")]
    private static partial Regex EnrolledSlot();

    // Eight groups of eight letters.
    [GeneratedRegex("([cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}")]
    private static partial Regex RecoveryKey();
}

/// <summary>The running box has no key of its own disk.</summary>
/// <param name="file">Where it should be.</param>
/// <param name="device">The disk.</param>
public sealed class DiskKeyMissingException(string file, string device) : SysrootException($"{file}: the box's own key of {device} is not there, so its keys cannot be changed")
{
    /// <summary>Where it should be.</summary>
    public string File { get; } = file;

    /// <summary>The disk.</summary>
    public string Device { get; } = device;
}

/// <summary>Another process changes who can open the disk.</summary>
/// <param name="path">The lock.</param>
/// <param name="device">The disk.</param>
public sealed class DiskBusyException(string path, string device) : SysrootException($"{path}: another sbox holds the lock and changes the keys of {device}")
{
    /// <summary>The lock.</summary>
    public string Path { get; } = path;

    /// <summary>The disk.</summary>
    public string Device { get; } = device;
}
