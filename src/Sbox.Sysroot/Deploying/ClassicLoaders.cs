using System.Text;
using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// Boot loaders that read a file of their own and no boot entries: their file is written beside the entries, in <c>boot/loader.V</c>, and becomes active with
/// them by the one rename. Which there is, the links to <c>boot/loader</c> say that whoever installed it made.
/// </summary>
/// <remarks>docs/formats/boot-entry.md, after libostree's ostree-bootloader-syslinux.c, -uboot.c and -grub2.c.</remarks>
internal sealed class ClassicLoaders(OstreeSysroot sysroot)
{
    private Dir Root => sysroot.Root;

    /// <summary>Writes the file of the boot loader that is configured or found; nothing where there is none.</summary>
    public void Write(int version)
    {
        switch (sysroot.Repository.Config.GetString("sysroot", "bootloader") ?? "auto")
        {
            case "none":
                return;
            case "syslinux":
                Syslinux(version);
                return;
            case "grub2":
                Grub2(version);
                return;
            case "auto" when IsLink("boot/syslinux/syslinux.cfg"):
                Syslinux(version);
                return;
            case "auto" when IsLink("boot/uEnv.txt"):
                UBoot(version);
                return;
            case "auto" when IsLink("boot/grub2/grub.cfg"):
                Grub2(version);
                return;
            case "auto":
                return;
            case var other:
                throw new NotSupportedException($"the repository's config says sysroot.bootloader={other}, and that is not written here: none, auto, syslinux and grub2 are");
        }
    }

    /// <summary>Makes the link by which a boot loader finds its file where an image was made with the file alone.</summary>
    internal static void Migrate(OstreeSysroot sysroot)
    {
        if (sysroot.Root.Exists("boot/loader/syslinux.cfg") && sysroot.Root.TryOpenDir("boot/syslinux") is { } dir)
        {
            using (dir)
            {
                if (!dir.Exists("syslinux.cfg"))
                    dir.Symlink("../loader/syslinux.cfg", "syslinux.cfg");
            }
        }
    }

    private bool IsLink(string path) => Root.TryStat(path) is { IsSymlink: true };

    private IReadOnlyList<BootEntry> Entries(int version)
    {
        using Dir entries = Root.OpenDir($"boot/loader.{version}/entries");
        return [.. entries.Entries().Where(static entry => entry.Name.StartsWith("ostree-", StringComparison.Ordinal))
            .Select(entry => BootEntry.Parse(Encoding.UTF8.GetString(entries.ReadAll(entry.Name)))).OrderByDescending(static entry => entry.Get("version") ?? "", VersionOrder.Comparer)];
    }

    // Sections for kernels of ours are made anew; all else is the owner's.
    private void Syslinux(int version)
    {
        string old = Root.TryReadAll("boot/loader/syslinux.cfg") is { } bytes ? Encoding.UTF8.GetString(bytes) : "";
        var (kept, section) = (new List<string>(), new List<string>());
        foreach (string line in old.Split('\n').Where(static line => line.Trim().Length > 0))
        {
            if (line.StartsWith("LABEL ", StringComparison.OrdinalIgnoreCase))
                Flush();
            if (section.Count > 0 || line.StartsWith("LABEL ", StringComparison.OrdinalIgnoreCase))
                section.Add(line);
            else if (!line.StartsWith("DEFAULT ", StringComparison.OrdinalIgnoreCase))
                kept.Add(line);
        }

        Flush();
        IReadOnlyList<BootEntry> entries = Entries(version);
        if (entries.Count > 0)
            kept.Add($"DEFAULT {entries[0].Title}");
        foreach (BootEntry entry in entries)
        {
            kept.Add($"LABEL {entry.Title}");
            kept.Add($"\tKERNEL {FromRoot(entry.Linux ?? "")}");
            kept.AddRange(entry.Initrds.Take(1).Select(static initrd => $"\tINITRD {FromRoot(initrd)}"));
            if (entry.Get("devicetree") is { } tree)
                kept.Add($"\tDEVICETREE {FromRoot(tree)}");
            kept.Add($"\tAPPEND {entry.Options}");
        }

        Replace(version, "syslinux.cfg", string.Concat(kept.Select(static line => line + "\n")));

        void Flush()
        {
            if (section.Count > 0 && !section.Exists(static line => line.Trim().StartsWith("KERNEL /ostree/", StringComparison.OrdinalIgnoreCase)
                || line.Trim().StartsWith("KERNEL /boot/ostree/", StringComparison.OrdinalIgnoreCase)))
                kept.AddRange(section);
            section.Clear();
        }
    }

    // boot/boot leads to itself, so that this holds also where /boot is a file system of its own.
    private static string FromRoot(string path) => path.StartsWith("/boot/", StringComparison.Ordinal) ? path : $"/boot{path}";

    // The second deployment's variables have a 2 behind their names, and so on.
    private void UBoot(int version)
    {
        var text = new StringBuilder();
        foreach ((int index, BootEntry entry) in Entries(version).Index())
        {
            string suffix = index == 0 ? "" : $"{index + 1}";
            text.Append($"kernel_image{suffix}={entry.Linux}\n");
            foreach (string initrd in entry.Initrds.Take(1))
                text.Append($"ramdisk_image{suffix}={initrd}\n");
            if (entry.Get("devicetree") is { } tree)
                text.Append($"fdt_file{suffix}={tree}\n");
            if (entry.Get("fdtdir") is { } trees)
                text.Append($"fdtdir{suffix}={trees}\n");
            text.Append($"bootargs{suffix}={entry.Options}\n");
        }

        // What the tree itself wants there.
        foreach (BootEntry entry in Entries(version).Take(1))
        {
            if (entry.Options.Get("ostree")?.TrimStart('/') is { } link && Root.TryReadAll($"{link}/usr/lib/ostree-boot/uEnv.txt") is { } more)
                text.Append(Encoding.UTF8.GetString(more));
        }

        Replace(version, "uEnv.txt", text.ToString());
    }

    // GRUB's own generator asks ostree's for the entries.
    private void Grub2(int version)
    {
        string program = Environment.GetEnvironmentVariable("OSTREE_GRUB2_EXEC") ?? "grub2-mkconfig";
        string output = $"{sysroot.Path}/boot/loader.{version}/grub.cfg";
        ChildProcess.Check(new ChildCommand(program, ["-o", output])
        {
            Environment = new Dictionary<string, string>
            {
                ["_OSTREE_GRUB2_BOOTVERSION"] = $"{version}", ["OSTREE_BOOT_PARTITION"] = Environment.GetEnvironmentVariable("OSTREE_BOOT_PARTITION") ?? "",
            },
        });
    }

    private void Replace(int version, string name, string text)
    {
        sysroot.Step($"write boot/loader.{version}/{name}");
        using Dir loader = Root.OpenDir($"boot/loader.{version}");
        Durable.Replace(loader, name, Encoding.UTF8.GetBytes(text));
    }
}
