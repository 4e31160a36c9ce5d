using System.Text;
using System.Text.RegularExpressions;
using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// Keeps an ESP (mounted, or a directory that becomes one) in step with the deployments: one UKI each, the first one the default.
/// FAT has no journal, so every file is written beside its place under a name that systemd-boot ignores, synced, and renamed
/// (<see cref="FatFiles"/>); what is no longer wanted goes last. At every cut there is a whole UKI whose deployment is there.
/// </summary>
/// <remarks>docs/formats/sysroot.md has the order and its reasons.</remarks>
public sealed partial class EspWriter
{
    private const string Linux = "EFI/Linux", Systemd = "EFI/systemd", Fallback = "EFI/BOOT", Loader = "loader", ConfName = "loader.conf";
    private readonly OstreeSysroot sysroot;
    private readonly Dir esp;
    private readonly SealedFiles sealing;

    internal EspWriter(OstreeSysroot sysroot, Dir esp, SealedFiles sealing) => (this.sysroot, this.esp, this.sealing) = (sysroot, esp, sealing);

    /// <summary>The UKIs of deployments on the ESP, by file name, with their sizes; those of others are left alone and not listed.</summary>
    public IReadOnlyDictionary<string, long> UnifiedKernels()
    {
        using Dir? linux = esp.TryOpenDir(Linux);
        return (linux?.Entries() ?? []).Where(static entry => OurName().IsMatch(entry.Name)).Select(entry => (entry.Name, linux!.Stat(entry.Name).Size))
            .Where(static file => file.Size > 0).ToDictionary(static file => file.Name, static file => file.Size);
    }

    /// <summary>The UKI that loader.conf names; null where it is missing or names none that is there.</summary>
    public string? Default
    {
        get
        {
            if (ReadConf()?.Default is not { } pattern)
                return null;
            IReadOnlyDictionary<string, long> ours = UnifiedKernels();
            return ours.Keys.FirstOrDefault(file => BootChoice.Fits(pattern, file)) // most often, and without a look into the files for their profiles
                ?? Entries().Where(entry => BootChoice.Fits(pattern, entry)).Select(BootChoice.FileOf).FirstOrDefault(ours.ContainsKey);
        }
    }

    /// <summary>What is started when nobody chooses, the firmware's variables included; of a version on trial, as if it were the default.</summary>
    public BootChoice Choice => Intended(BootChoice.Of(
        Entries(), ReadConf()?.Default, sysroot.Firmware?.EntryDefault, sysroot.Firmware?.EntryOneShot, sysroot.Firmware?.EntryLastBooted));

    /// <summary>What firmware and boot loader start from it, with the signatures that the files bear: our boot loaders and the UKIs of deployments.</summary>
    /// <exception cref="LinuxException">A file, or what the firmware was told to boot, cannot be read.</exception>
    public IReadOnlyList<BootProgram> Programs()
    {
        var programs = new List<BootProgram>();
        foreach ((string directory, string prefix) in (ReadOnlySpan<(string, string)>)[(Systemd, "systemd-boot"), (Fallback, "BOOT")])
        {
            using Dir? dir = esp.TryOpenDir(directory);
            foreach (DirEntry entry in dir?.Entries() ?? [])
            {
                if (entry.Name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase) && entry.Name.EndsWith(".efi", StringComparison.OrdinalIgnoreCase))
                    programs.Add(new BootProgram($"{directory}/{entry.Name}", SignaturesOf(dir!, entry.Name), IsLoader: true, StartsNext: true));
            }
        }

        BootChoice choice = Choice;
        HashSet<string> next = new(
            ((string?[])[Default, choice.Entry, choice.Once]).OfType<string>().Select(static entry => entry.Split('@')[0]), StringComparer.OrdinalIgnoreCase);
        using Dir? linux = esp.TryOpenDir(Linux);
        programs.AddRange(UnifiedKernels().Keys.Order(StringComparer.Ordinal).Select(name => new BootProgram(
            $"{Linux}/{name}", SignaturesOf(linux!, name), IsLoader: false,
            StartsNext: next.Contains(name) || (sysroot.Deployments is [var first, ..] && UnifiedKernel.IsOf(name, first.Name)))));
        return programs;
    }

    /// <summary>How full it is.</summary>
    public FileSystemSpace Space => FileSystemSpace.Of(esp);

    /// <summary>Whether a deployment's UKI is there.</summary>
    internal bool Names(DeploymentName name) => UnifiedKernels().Keys.Any(file => UnifiedKernel.IsOf(file, name));

    /// <summary>Whether these deployments and no others are there, the first one the default, or on trial beside another that is.</summary>
    internal bool IsInStep(IReadOnlyList<DeploymentName> wanted) =>
        UnifiedKernels().Keys.Order().SequenceEqual(wanted.Select(UnifiedKernel.FileName).Order())
        && (wanted.Count == 0 || (Default is { } name && (UnifiedKernel.IsOf(name, wanted[0]) || (IsOnItsWay(wanted[0]) && wanted.Any(each => UnifiedKernel.IsOf(name, each))))));

    // Tried with the next boot, running to be found good, or given up.
    private bool IsOnItsWay(DeploymentName name) => TriesLeft(name) switch
    {
        null => false,
        0 => true,
        _ => StartsOnce(name) || name == sysroot.BootedName,
    };

    /// <summary>Refuses before anything is written where these bytes fit neither beside what is there nor in the place of what is dropped.</summary>
    /// <returns>Whether what is dropped must go first.</returns>
    /// <exception cref="NoSpaceException">They fit nowhere.</exception>
    internal bool MustDropFirst(long needed, IReadOnlyList<DeploymentName> dropped)
    {
        long free = sysroot.Options.FreeBytes?.Invoke(esp) ?? Space.FreeBytes;
        if (needed <= free)
            return false;
        IReadOnlyDictionary<string, long> there = UnifiedKernels();
        HashSet<string> going = [.. dropped.Select(UnifiedKernel.FileName)];
        if (needed <= free + there.Where(each => going.Contains(each.Key)).Sum(static each => each.Value))
            return true;
        throw new NoSpaceException(esp.Path, needed, free, [.. there.Select(static each => new Freeable(each.Key, each.Value))]);
    }

    /// <summary>Refuses before anything is written where a UKI is missing that could only be written without a signature.</summary>
    /// <exception cref="UnsealedCommitException">Firmware would not start it.</exception>
    internal void RequireSeals(IReadOnlyList<BootTarget> targets)
    {
        foreach (BootTarget target in targets.Where(target => !Names(target.Name)))
            sealing.RequireSeal(target);
    }

    /// <summary>Makes all of these bootable, the first by default; removes nothing.</summary>
    /// <param name="targets">In boot order.</param>
    /// <param name="digestOf">The fs-verity digest of a deployment's composefs image.</param>
    /// <param name="updateLoader">Whether the boot loader of the first target's tree replaces another one; one that is missing is installed always.</param>
    /// <param name="asked">The one that somebody asks for by this, which is tried first where that can be; null for none.</param>
    /// <param name="beforeDefault">Told the first one before anything leads to it: when its UKI is there, and again when its boot loader is.</param>
    internal void Publish(
        IReadOnlyList<BootTarget> targets, Func<DeploymentName, Checksum> digestOf, bool updateLoader, DeploymentName? asked, Action<DeploymentName>? beforeDefault = null)
    {
        MakeDirectories();
        foreach (BootTarget target in targets.Where(target => target.Name == asked && (!Names(target.Name) || TriesLeft(target.Name) == 0)))
            BeginTrial(target, targets.Count);
        foreach (BootTarget target in targets.Where(target => !Names(target.Name)))
            WriteUnifiedKernel(target, digestOf(target.Name));
        if (targets.Count == 0)
            return;
        // A boot loader that other keys signed changes what the firmware measures also for the version before.
        beforeDefault?.Invoke(targets[0].Name);
        InstallLoader(targets[0], updateLoader);
        beforeDefault?.Invoke(targets[0].Name);
        SetDefault([.. targets.Select(static target => target.Name)]);
    }

    /// <summary>Removes the UKIs of all deployments but these, and what a cut left half-written.</summary>
    /// <returns>Bytes freed.</returns>
    internal long RemoveOthers(IReadOnlyList<DeploymentName> wanted)
    {
        HashSet<string> keep = [.. wanted.Select(UnifiedKernel.FileName)];
        long freed = 0;
        using Dir? linux = esp.TryOpenDir(Linux);
        foreach ((string name, long size) in UnifiedKernels().Where(each => !keep.Contains(each.Key)))
        {
            sysroot.Step($"remove {linux!.Of(name)}");
            FatFiles.Remove(linux, [name]);
            freed += size;
        }

        return freed;
    }

    /// <summary>Removes what a cut left half-written, so that its room counts as free.</summary>
    internal void RemoveLeftovers()
    {
        foreach (string path in (string[])[Linux, Systemd, Fallback, Loader])
        {
            if (esp.TryOpenDir(path) is not { } dir)
                continue;
            using (dir)
                FatFiles.Remove(dir, [.. dir.Entries().Select(static entry => entry.Name).Where(name => IsTemporary(name) || IsEmpty(dir, name))]);
        }
    }

    /// <summary>Makes the firmware forget what it was told to boot instead of a deployment.</summary>
    /// <returns>A line for each variable that was in the way, also where it could not be cleared.</returns>
    internal IReadOnlyList<string> Overrule(DeploymentName wanted)
    {
        if (sysroot.Firmware is not { } firmware)
            return [];
        BootChoice choice;
        try
        {
            choice = Choice;
        }
        catch (LinuxException unread)
        {
            return [$"What the firmware was told to boot cannot be read ({unread.Message}): if the next boot brings another version, choose in the boot menu"];
        }

        var notes = new List<string>();
        // A default in the firmware would start what is on trial again and again.
        if (choice.Variable is { } set && (!Means(choice.Entry, wanted) || TriesLeft(wanted) is not null))
        {
            CarryOver(wanted);
            notes.Add(Forget("LoaderEntryDefault", set, firmware.ForgetEntryDefault));
        }

        if (choice.OneShot is { } once && !Means(choice.Once, wanted))
            notes.Add(Forget("LoaderEntryOneShot", once, firmware.ForgetEntryOneShot));
        return notes;
    }

    private static bool Means(string? entry, DeploymentName name) => entry is not null && UnifiedKernel.IsOf(entry, name);

    private string Forget(string variable, string value, Action forget)
    {
        try
        {
            sysroot.Step($"forget {variable}");
            forget();
            return $"The firmware's {variable} said to boot '{value}'; it is cleared, and loader.conf decides again";
        }
        catch (LinuxException refused)
        {
            return $"The firmware's {variable} says to boot '{value}', and cannot be cleared ({refused.Message}): choose in the boot menu";
        }
    }

    // All that a boot menu is made of: unified kernel images, and text entries of whoever keeps such.
    private List<string> Entries()
    {
        var names = new List<string>();
        foreach ((string path, string suffix) in (ReadOnlySpan<(string, string)>)[(Linux, ".efi"), ($"{Loader}/entries", ".conf")])
        {
            using Dir? dir = esp.TryOpenDir(path);
            foreach (string file in (dir?.Entries() ?? []).Select(static entry => entry.Name))
            {
                string name = file.ToLowerInvariant();
                if (name.StartsWith('.') || !name.EndsWith(suffix, StringComparison.Ordinal))
                    continue;
                names.Add(name);
                if (suffix == ".efi")
                    names.AddRange(BootProfiles.MoreOf(dir!, file).Select(profile => $"{name}@{profile.ToLowerInvariant()}"));
            }
        }

        return names;
    }

    private static IReadOnlyList<byte[]>? SignaturesOf(Dir dir, string name)
    {
        try
        {
            using var file = new FileStream(dir.OpenFile(name), FileAccess.Read, bufferSize: 0);
            return PeSignatures.Of(file);
        }
        catch (MalformedException)
        {
            return null;
        }
    }

    private LoaderConf? ReadConf() => esp.TryReadAll($"{Loader}/{ConfName}") is { } bytes ? new LoaderConf(Encoding.UTF8.GetString(bytes)) : null;

    private void MakeDirectories()
    {
        if (((string[])[Linux, Systemd, Fallback, Loader]).All(esp.Exists))
            return;
        sysroot.Step($"make directories in {esp.Path}");
        foreach (string path in (string[])[Linux, Systemd, Fallback, Loader])
            esp.MakeDirs(path);
        using Dir efi = esp.OpenDir("EFI");
        Durable.Sync(efi);
        Durable.Sync(esp);
    }

    private void WriteUnifiedKernel(BootTarget target, Checksum imageDigest)
    {
        using Dir tree = sysroot.Root.OpenDir(target.Name.Directory);
        using UnifiedKernel parts = UnifiedKernel.Of(tree, target, imageDigest);
        Replace(Linux, UnifiedKernel.FileName(target.Name), output =>
        {
            sysroot.Options.AssembleUki(parts, output);
            sealing.Sign(target, output);
        });
    }

    private void InstallLoader(BootTarget target, bool update)
    {
        using Dir tree = sysroot.Root.OpenDir(target.Name.Directory);
        string machine = UnifiedKernel.Machine(tree.Exists, tree.Path);
        string source = UnifiedKernel.BootLoaderPath(machine);
        byte[] loader = sealing.SignedLoader(target, tree.TryReadAll(source) ?? throw new NoBootLoaderException(tree.Path, source));
        // One after the other: the firmware falls back to EFI/BOOT when the first is unreadable.
        ReadOnlySpan<(string, string)> places = [(Systemd, $"systemd-boot{machine}.efi"), (Fallback, $"BOOT{machine.ToUpperInvariant()}.EFI")];
        foreach ((string directory, string name) in places)
        {
            byte[]? there = esp.TryReadAll($"{directory}/{name}");
            if (there is null || (update && sealing.MayReplaceLoader(target) && !there.AsSpan().SequenceEqual(loader)))
                Replace(directory, name, output => output.Write(loader));
        }
    }

    private void Replace(string directory, string name, Action<Stream> write)
    {
        using Dir dir = esp.OpenDir(directory);
        FatFiles.Replace(dir, name, write, sysroot.Step);
    }

    // What a cut left of a name before it got its bytes; systemd-boot shows no entry for it.
    private static bool IsEmpty(Dir dir, string name) => OurName().IsMatch(name) && dir.Stat(name).Size == 0;

    private static bool IsTemporary(string name) => name.StartsWith('.') && name.EndsWith(FatFiles.Temporary, StringComparison.Ordinal);

    [GeneratedRegex(@"^[a-z0-9][a-z0-9._-]*-[0-9a-f]{12}\.[0-9]+\.efi$")]
    private static partial Regex OurName();
}

/// <summary>A program on an ESP that starts a box, or helps to.</summary>
/// <param name="Path">Where, from the ESP's root.</param>
/// <param name="Signatures">Those that it bears, none where it is not signed; null where it is no program, or its table of them is broken.</param>
/// <param name="IsLoader">Whether it is a boot loader; a deployment's UKI otherwise.</param>
/// <param name="StartsNext">Whether the next boot, when nobody chooses, needs it.</param>
public sealed record BootProgram(string Path, IReadOnlyList<byte[]>? Signatures, bool IsLoader, bool StartsNext)
{
    /// <summary>What keeps firmware from starting it where a key that signed it is revoked, for people.</summary>
    public string Trouble => Signatures is null ? "its signatures cannot be read" : "it bears the signature of a revoked key";
}
