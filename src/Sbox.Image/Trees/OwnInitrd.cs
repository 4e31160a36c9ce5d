using Sbox.Boot;
using Sbox.Codecs.Cpio;
using Sbox.Linux;

namespace Sbox.Image;

/// <summary>
/// The initrd that holds sbox-root as the only program of a boot, the drivers of disks, and a small shell for when it fails. A quarter
/// of dracut's, and most of its time is saved: nothing is started that a boot does not need.
/// </summary>
internal static class OwnInitrd
{
    private const string Archive = "boot/sbox-initrd.cpio", Modules = "boot/sbox-initrd.modules";

    // For the emergency shell: enough to look around and to mount something.
    private static readonly string[] ShellKit = ["bash", "cat", "ls", "mount", "umount", "dmesg", "mkdir", "setsid", "sleep", "stty", "sync"];

    // What opens an encrypted root, beside cryptsetup itself; none of them is linked to it, they are loaded when they are wanted. Where in the tree's
    // directory of libraries, and of which package.
    private static readonly (string File, string Package)[] DiskKit =
    [
        ("cryptsetup/libcryptsetup-token-systemd-tpm2.so", "systemd-cryptsetup"), ("libtss2-esys.so.0", "libtss2-esys-3.0.2-0t64"),
        ("libtss2-mu.so.0", "libtss2-mu-4.0.1-0t64"), ("libtss2-rc.so.0", "libtss2-rc0t64"), ("libtss2-tcti-device.so.0", "libtss2-tcti-device0t64"),
    ];

    private const string Cryptsetup = "usr/sbin/cryptsetup";

    /// <summary>A word for each thing that this version puts in; it is part of the cache's key.</summary>
    public static IReadOnlyList<string> Contents(bool encryptedRoot) =>
        ["own initrd 4", .. ShellKit, .. encryptedRoot ? DiskKit.Select(static each => each.File).Prepend(Cryptsetup) : []];

    public static void Make(
        TreeRoot tree, IReadOnlyList<string> drivers, InitrdChoices choices, string kernel, long sourceDateEpoch, string destination, StepRunner runner)
    {
        if (!tree.Exists("usr/lib/sbox/sbox-root"))
            throw new BuildFailedException("initrd", "the recipe keeps the programs out (programs = false), and this initrd is made of one of them; say made-by = \"dracut\"");
        var set = new KernelModuleSet(tree, kernel);
        ModuleIndex index = set.Choose(drivers, choices.Drivers);
        IReadOnlyList<string> opening = choices.EncryptedRoot ? Opening(tree) : [];
        IReadOnlyList<string> libraries = Libraries(tree, [.. ShellKit.Select(static program => $"usr/bin/{program}"), .. opening], sourceDateEpoch, runner);
        Unpack(tree, set, index, sourceDateEpoch, runner);
        using (FileStream output = File.Create($"{tree.Path}/{Archive}"))
            Write(new CpioWriter(output), tree, index, [.. libraries, .. opening.Where(static file => file != Cryptsetup).Except(libraries)], choices.EncryptedRoot);
        // By one thread and in little memory: whoever is updated by a small delta does the same (Sbox.Store, ZstdPacking).
        runner.Run(InTree.Command(tree, "zstd", ["-q", "-19", "--single-thread", ZstdSettings.Modest.Argument, "--rm", $"/{Archive}", "-o", $"/{Archive}.zst"], sourceDateEpoch));
        tree.Remove(Modules);
        File.Move($"{tree.Path}/{Archive}.zst", destination, overwrite: true);
    }

    private static void Write(CpioWriter cpio, TreeRoot tree, ModuleIndex index, IReadOnlyList<string> libraries, bool encryptedRoot)
    {
        foreach (string directory in (string[])["dev", "proc", "sys", "run", "sysroot", "usr/bin", "usr/lib64"])
            cpio.Directory(directory);
        foreach (string name in (string[])["bin", "lib", "lib64"])
            cpio.Link(name, $"usr/{name}");
        cpio.Link("sbin", "usr/bin");
        cpio.File("init", tree.Dir.ReadAll("usr/lib/sbox/sbox-root"));
        cpio.File(ModuleIndex.PathInInitrd, System.Text.Encoding.UTF8.GetBytes(index.ToString()));
        foreach (ListedModule module in index.Modules)
            cpio.File(ModuleIndex.FileInInitrd(module.Name), tree.Dir.ReadAll($"{Modules}/{module.Name}.ko"));
        foreach (string file in ShellKit.Select(static program => $"usr/bin/{program}").Concat(libraries))
            cpio.File(file, tree.Dir.ReadAll(Followed(tree, file)));
        cpio.Link("usr/bin/sh", "bash");
        if (encryptedRoot)
            cpio.File(EncryptedDisk.ProgramInInitrd, tree.Dir.ReadAll(Followed(tree, Cryptsetup)));
        cpio.Finish();
    }

    private static IReadOnlyList<string> Opening(TreeRoot tree)
    {
        if (!tree.Exists(Cryptsetup))
            throw Missing(Cryptsetup, "cryptsetup-bin");
        string[] directories = [.. tree.Names("usr/lib").Where(static name => name.EndsWith("-linux-gnu", StringComparison.Ordinal))];
        return [Cryptsetup, .. DiskKit.Select(each => directories.Select(directory => $"usr/lib/{directory}/{each.File}").FirstOrDefault(tree.Exists) ?? throw Missing(each.File, each.Package))];

        static BuildFailedException Missing(string file, string package) =>
            new("initrd", $"the recipe wants an initrd that opens an encrypted root (encrypted-root = true), and the tree has no {file}; add {package} to its packages");
    }

    // Libraries are links to their versions, mount and others may be links to alternatives.
    private static string Followed(TreeRoot tree, string path)
    {
        string real = tree.Locate(path);
        return tree.Dir.Stat(real) is { IsSymlink: true }
            ? Followed(tree, Path.Combine(Path.GetDirectoryName("/" + real)!, tree.Dir.ReadLink(real)).TrimStart('/')) : real;
    }

    // What the dynamic linker would load for the kit, and itself: ldd's lines are a tab and "name => /path (address)" or "/path (address)".
    private static IReadOnlyList<string> Libraries(TreeRoot tree, IReadOnlyList<string> programs, long sourceDateEpoch, StepRunner runner)
    {
        var libraries = new SortedSet<string>(StringComparer.Ordinal);
        var listing = runner with { Progress = new Lines(line => libraries.UnionWith(line.Split([' ', '\t']).Where(static word => word.StartsWith('/')).Select(static word => word.TrimEnd(':')).Select(tree.Locate))) };
        listing.Run(InTree.Command(tree, "ldd", [.. programs.Select(static program => $"/{program}")], sourceDateEpoch));
        return [.. libraries.Where(path => !path.StartsWith("usr/bin/", StringComparison.Ordinal) && !path.StartsWith("usr/sbin/", StringComparison.Ordinal))];
    }

    // The kernel could unpack them as it loads them; zstd over all of them is smaller, and faster at boot.
    private static void Unpack(TreeRoot tree, KernelModuleSet set, ModuleIndex index, long sourceDateEpoch, StepRunner runner)
    {
        tree.Empty(Modules);
        var packed = new List<string>();
        foreach (ListedModule module in index.Modules)
        {
            string file = set.FileOf(module.Name);
            string copy = $"{Modules}/{module.Name}{file[file.LastIndexOf(".ko", StringComparison.Ordinal)..]}";
            tree.Write(copy, tree.Dir.ReadAll(file));
            if (!copy.EndsWith(".ko", StringComparison.Ordinal))
                packed.Add(copy);
        }

        foreach (IGrouping<string, string> kind in packed.GroupBy(static file => Path.GetExtension(file)))
        {
            runner.Run(kind.Key switch
            {
                ".xz" => new ChildCommand("xz", ["--decompress", "--", .. kind.Select(file => $"{tree.Path}/{file}")]),
                ".zst" => InTree.Command(tree, "zstd", ["-q", "-d", "--rm", .. kind.Select(static file => $"/{file}")], sourceDateEpoch),
                ".gz" => new ChildCommand("gzip", ["--decompress", "--", .. kind.Select(file => $"{tree.Path}/{file}")]),
                var other => throw new BuildFailedException("initrd", $"kernel modules are compressed as {other}, which is not known here"),
            });
        }
    }

    private sealed class Lines(Action<string> each) : IProgress<BuildStep>
    {
        public void Report(BuildStep value) => each(value.Detail);
    }
}
