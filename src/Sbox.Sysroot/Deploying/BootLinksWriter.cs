using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// Writes which deployments there are and in which order, so that a power cut at any moment leaves the old list or the new: all of the
/// new configuration is made beside the active one and synced; then one rename makes it active.
/// </summary>
/// <remarks>docs/formats/sysroot.md, after ostree_sysroot_write_deployments of libostree.</remarks>
/// <param name="sysroot">What is written.</param>
/// <param name="classic">Whether a boot loader reads /boot; else what it reads is on the EFI partition, and /boot is for us.</param>
internal sealed class BootLinksWriter(OstreeSysroot sysroot, bool classic)
{
    private Dir Root => sysroot.Root;

    /// <summary>Makes these the deployments, the first one the default. All they hold is on the disk before they become active.</summary>
    /// <param name="targets">In boot order.</param>
    /// <param name="anew">Make all of it anew, also where it would be as it is: what is there is damaged.</param>
    public void Write(IReadOnlyList<BootTarget> targets, bool anew = false)
    {
        BootVersion boot = sysroot.BootVersion;
        int before = sysroot.Deployments.Count;
        IReadOnlyList<Deployment> current = sysroot.Deployments;
        bool sameEntries = !anew && current.Count == targets.Count && current.Zip(targets).All(pair => pair.Second.IsServedBy(sysroot, pair.First));
        if (sameEntries && current.Zip(targets).All(static pair => pair.First.Name == pair.Second.Name))
            return;
        if (sameEntries)
        {
            // The entries' ostree= goes through the links: to lead them elsewhere is enough.
            string links = MakeLinks(boot.Version, boot.Subversion, targets);
            SyncAll();
            SwapLinks(boot.Version, links);
        }
        else
        {
            int next = 1 - boot.Version;
            MakeEntries(next, targets);
            SwapLinks(next, MakeLinks(next, BootLinks.ReadSubversion(Root, next), targets));
            new ClassicLoaders(sysroot).Write(next);
            SwapEntries(next);
            ClassicLoaders.Migrate(sysroot);
        }

        using (Dir ostree = Root.OpenDir("ostree"))
            Durable.Sync(ostree);
        sysroot.TouchDeploy();
        sysroot.Reload();
        sysroot.LastBootWrite = new BootWrite(!sameEntries, sysroot.BootVersion.Version, sysroot.BootVersion.Subversion, sysroot.Deployments.Count - before);
    }

    private void SyncAll()
    {
        sysroot.Step("sync the root file system");
        Durable.SyncFileSystem(Root);
        using Dir boot = Root.OpenDir(Layout.Boot);
        if (classic)
            BootJournal.Flush(boot, sysroot.IsRunning);
        else if (boot.Stat().Device != Root.Stat().Device)
            Durable.SyncFileSystem(boot);
    }

    // ostree/boot.VERSION.SUBVERSION/OS/BOOTCSUM/SERIAL -> the deployment's directory.
    private string MakeLinks(int version, int oldSubversion, IReadOnlyList<BootTarget> targets)
    {
        string name = $"boot.{version}.{1 - oldSubversion}";
        sysroot.Step($"make ostree/{name}");
        Root.RemoveAll($"ostree/{name}");
        Root.MakeDir($"ostree/{name}");
        foreach ((BootTarget target, int serial) in targets.Zip(BootTarget.Serials(targets)))
        {
            string parent = $"ostree/{name}/{target.Name.Os}/{target.Kernel.BootChecksum}";
            Root.MakeDirs(parent);
            Root.Symlink($"../../../deploy/{target.Name.Os}/deploy/{target.Name.Commit}.{target.Name.Serial}", $"{parent}/{serial}");
        }

        return name;
    }

    private void SwapLinks(int version, string links)
    {
        sysroot.Step($"lead ostree/boot.{version} to {links}");
        Root.ReplaceSymlink(links, $"ostree/boot.{version}");
    }

    private void MakeEntries(int version, IReadOnlyList<BootTarget> targets)
    {
        string path = $"boot/loader.{version}";
        sysroot.Step($"make {path}");
        Root.RemoveAll(path);
        Root.MakeDirs($"{path}/entries");
        bool severalOs = targets.Select(static target => target.Name.Os).Distinct().Count() > 1;
        int[] serials = BootTarget.Serials(targets);
        using Dir entries = Root.OpenDir($"{path}/entries");
        for (int index = 0; index < targets.Count; index++)
        {
            BootTarget target = targets[index];
            InstallKernel(target);
            string name = EntryName(target, targets.Count - index);
            sysroot.Step($"write {path}/entries/{name}");
            Durable.Replace(entries, name, Encoding.UTF8.GetBytes(Entry(target, version, serials[index], index, targets.Count, severalOs).ToString()));
        }
    }

    private string EntryName(BootTarget target, int number)
    {
        if (!sysroot.Options.ShortEntryNames)
            return $"ostree-{number}-{target.Name.Os}.conf";
        string tries = sysroot.Repository.Config.GetString("sysroot", "boot-counting-tries") is { } count && int.TryParse(count, out int left) && left > 0 ? $"+{left}" : "";
        return $"ostree-{number}{tries}.conf";
    }

    private BootEntry Entry(BootTarget target, int version, int serial, int index, int count, bool severalOs)
    {
        string prefix = sysroot.Repository.Config.GetBoolean("sysroot", "bootprefix") ? "/boot" : "";
        string link = Layout.BootLink(version, target.Name.Os, target.Kernel.BootChecksum, serial);
        string kernels = $"{prefix}/{Layout.BootDirectory(target.Name.Os, target.Kernel.BootChecksum)}";
        string os = severalOs ? $":{target.Name.Os}" : "";
        BootEntry entry = BootEntry.Empty
            .With("title", $"{target.Title} (ostree{os}:{index})")
            .With("version", $"{count - index}")
            // Without an initrd the deployment's own program makes the root.
            .With(target.Arguments.Append(target.Kernel.InitrdName is null ? $"ostree={link} init={link}/usr/lib/ostree/ostree-prepare-root" : $"ostree={link}"))
            .With("linux", $"{kernels}/{target.Kernel.KernelName}");
        if (target.Kernel.InitrdName is { } initrd)
            entry = entry.With("initrd", $"{kernels}/{initrd}");
        entry = target.Overlays.Aggregate(entry, (all, overlay) => all.WithAnother("initrd", $"{prefix}/{OverlayInitrds.Directory}/{overlay}"));
        if (target.Kernel.DeviceTreeName is { } tree)
            entry = entry.With("devicetree", $"{kernels}/{tree}");
        else if (target.Kernel.DeviceTrees is { } trees)
            entry = entry.With("fdtdir", $"{kernels}/{trees}");
        return entry;
    }

    private void InstallKernel(BootTarget target)
    {
        KernelLayout kernel = target.Kernel;
        string name = Layout.BootDirectory(target.Name.Os, kernel.BootChecksum);
        using Dir boot = Root.OpenDir(Layout.Boot), files = Root.OpenDir($"{target.Name.Directory}/{kernel.Directory}");
        using Dir installed = boot.MakeAndOpenDir(name);
        Install(files, kernel.Kernel, installed, kernel.KernelName);
        if (kernel.Hmac is not null)
            Install(files, kernel.Hmac, installed, kernel.HmacName!);
        if (kernel.Initrd is not null)
            Install(files, kernel.Initrd, installed, kernel.InitrdName!);
        if (kernel.DeviceTree is not null)
            Install(files, kernel.DeviceTree, installed, kernel.DeviceTreeName!);
        else if (kernel.DeviceTrees is not null && !installed.Exists(kernel.DeviceTrees))
            TreeCopy.Recursive(files, kernel.DeviceTrees, installed, kernel.DeviceTrees);
    }

    // A second name where /boot is on the same file system, else a copy that gets its name when its bytes are there.
    private void Install(Dir from, string name, Dir to, string newName)
    {
        if (to.Exists(newName))
            return;
        sysroot.Step($"install {to.Of(newName)}");
        Errno errno = from.LinkInto(name, to, newName);
        if (errno is Errno.None or Errno.EEXIST)
            return;
        if (errno is not (Errno.EXDEV or Errno.EMLINK or Errno.EPERM))
            throw new LinuxException(errno, "linkat", to.Of(newName));
        string temporary = $".{newName}.tmp";
        TreeCopy.Leaf(from, name, to, temporary);
        using (SafeFileHandle copy = to.OpenFile(temporary))
            Durable.Sync(copy, to.Of(temporary));
        to.Rename(temporary, to, newName);
        Durable.Sync(to);
    }

    private void SwapEntries(int version)
    {
        using Dir boot = Root.OpenDir(Layout.Boot);
        // So that the paths in the entries hold whether /boot is a file system of its own or not.
        if (!boot.Exists("boot"))
            boot.Symlink(".", "boot");
        boot.TryUnlink("loader.tmp");
        boot.Symlink($"loader.{version}", "loader.tmp");
        SyncAll();
        sysroot.Step($"lead boot/loader to loader.{version}");
        boot.Rename("loader.tmp", boot, "loader");
        Durable.Sync(boot);
        if (classic)
            BootJournal.Flush(boot, sysroot.IsRunning);
    }
}
