using System.Globalization;
using System.Text;
using Sbox.Vm;

namespace Sbox.Tour;

/// <summary>
/// Boot to login of the box beside the same packages as a plain Debian: the same kernel and files on a writable ext4, with /etc and /var
/// where Debian has them, and the initrd that Debian itself makes (initramfs-tools). Both boot by the same QEMU without firmware, in turn.
/// </summary>
public sealed class BootComparison(DemoImage image, Tools tools, string work, int rounds)
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12);
    private const string Console = "console=ttyS0,115200 quiet";

    /// <summary>Boots both and writes the page.</summary>
    public string Run()
    {
        if (Directory.Exists(work))
            Directory.Delete(work, recursive: true);
        Directory.CreateDirectory(work);
        string tree = Path.Combine(work, "tree"), repository = Path.Combine(work, "repo");
        tools.Ostree($"--repo={image.Builds}", "checkout", "-U", "--subpath=/usr/lib/modules", image.First, Path.Combine(work, "modules"));
        string modules = Directory.GetDirectories(Path.Combine(work, "modules")).Single(), version = Path.GetFileName(modules);
        string kernel = Keep(Path.Combine(modules, "vmlinuz")), initrd = Keep(Path.Combine(modules, "initramfs.img"));
        tools.Ostree($"--repo={repository}", "init", "--mode=bare");
        tools.Sbox("build", "tests/Sbox.Tour/recipes/plain.toml", "--repo", repository);
        tools.Ostree($"--repo={repository}", "checkout", "-C", "debian/13/amd64/plain", tree);
        string plain = PlainDisk(tree, version), plainInitrd = Path.Combine(work, "plain-initrd");
        var box = new List<Boot>();
        var debian = new List<Boot>();
        for (int round = 0; round < rounds; round++)
        {
            box.Add(Once("box", new VmOptions(Machine("box", round), image.Disk)
            {
                Kernel = kernel,
                Initrd = initrd,
                CommandLine = $"root=LABEL=sbox-root sbox.deployment=debian/{image.First}.0 {Console}",
            }));
            debian.Add(Once("plain", new VmOptions(Machine("plain", round), plain)
            {
                Kernel = kernel,
                Initrd = plainInitrd,
                CommandLine = $"root=LABEL=sbox-plain rw {Console}",
            }));
        }

        return Page(box, debian, initrd);
    }

    private sealed record Boot(double Login, double Processor, string Analyze);

    private static Boot Once(string name, VmOptions options)
    {
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options);
        vm.WaitForLogin(BootLimit);
        double processor = vm.ProcessorTime.TotalSeconds;
        var boot = new Boot(vm.Timings.Login!.Value.TotalSeconds, processor, vm.Run("systemctl is-system-running --wait >/dev/null; systemd-analyze time | head -n 1", BootLimit).Output);
        System.Console.Error.WriteLine($"{name}: login after {boot.Login:0.0} s, {boot.Processor:0.0} s of processor; {boot.Analyze}");
        return boot;
    }

    private string Page(List<Boot> box, List<Boot> debian, string initrd)
    {
        var page = new StringBuilder();
        page.Append(CultureInfo.InvariantCulture, $"# Boot to login, and sizes\n\nMade by `./bench` on {DateTime.UtcNow:yyyy-MM-dd}: the same kernel and packages, once as a box and once as a plain writable ext4\n");
        page.Append(CultureInfo.InvariantCulture, $"Debian with its own initrd (initramfs-tools), {rounds} boots each in turn, QEMU without firmware{(File.Exists("/dev/kvm") ? "" : " and without KVM (emulated: only the ratio counts)")}.\n\n");
        page.Append("| | box | plain Debian | box / plain |\n|---|---|---|---|\n");
        Row(page, "QEMU's start to a shell, median s", box, debian, static boot => boot.Login);
        Row(page, "QEMU's processor seconds until then, median", box, debian, static boot => boot.Processor);
        for (int round = 0; round < rounds; round++)
            page.Append(CultureInfo.InvariantCulture, $"| round {round + 1}: systemd-analyze | {box[round].Analyze} | {debian[round].Analyze} | |\n");
        page.Append("\n| file | MiB |\n|---|---|\n");
        foreach ((string name, long bytes) in Sizes(initrd, Path.Combine(work, "plain-initrd")))
            page.Append(CultureInfo.InvariantCulture, $"| {name} | {bytes / 1048576.0:0.0} |\n");
        return page.ToString();
    }

    private IEnumerable<(string Name, long Bytes)> Sizes(string initrd, string plainInitrd)
    {
        yield return ("sbox (ostree is a link to it)", new FileInfo(Path.Combine(tools.Root, "out", "sbox")).Length);
        yield return ("sbox-root", new FileInfo(Path.Combine(tools.Root, "out", "sbox-root")).Length);
        yield return ("initrd", new FileInfo(initrd).Length);
        yield return ("initrd of the plain Debian (initramfs-tools)", new FileInfo(plainInitrd).Length);
        string uki = Path.Combine(work, "uki.efi");
        Tools.Do("sh", "-c", $"mcopy -n -o -i '{image.Disk}'@@1M '::/EFI/Linux/*.efi' '{uki}'");
        yield return ("UKI", new FileInfo(uki).Length);
        yield return ("disk image, holes not counted", StepCost.DiskUsage(image.Disk));
        yield return ("repository of one version (archive)", StepCost.DiskUsage(image.Served));
    }

    private string PlainDisk(string tree, string kernel)
    {
        Directory.Move(Path.Combine(tree, "usr/etc"), Path.Combine(tree, "etc"));
        Tools.Do("cp", "-a", Path.Combine(tree, "usr/share/factory/var") + "/.", Path.Combine(tree, "var"));
        // As its package's own hook does after the installation of a kernel.
        Tools.Do("sh", "-c", $"mkdir -p '{tree}/var/tmp' '{tree}/boot' && cp '{tree}/usr/lib/modules/{kernel}/config' '{tree}/boot/config-{kernel}' && "
            + $"mount --bind /proc '{tree}/proc' && chroot '{tree}' env TMPDIR=/ PATH=/usr/sbin:/usr/bin:/sbin:/bin mkinitramfs -o /initrd.img {kernel}; status=$?; umount '{tree}/proc'; exit $status");
        File.Move(Path.Combine(tree, "initrd.img"), Path.Combine(work, "plain-initrd"));
        string disk = Path.Combine(work, "plain.img");
        using (FileStream file = File.Create(disk))
            file.SetLength(StepCost.DiskUsage(tree) * 3 / 2 + (256L << 20));
        Tools.Do("mkfs.ext4", "-q", "-F", "-L", "sbox-plain", "-d", tree, disk);
        return disk;
    }

    private string Keep(string file)
    {
        string kept = Path.Combine(work, Path.GetFileName(file));
        File.Copy(file, kept);
        return kept;
    }

    private string Machine(string name, int round) => Path.Combine(work, $"{name}-{round}");

    private static void Row(StringBuilder page, string what, List<Boot> box, List<Boot> debian, Func<Boot, double> of)
    {
        double ours = box.Select(of).Order().ElementAt(box.Count / 2), theirs = debian.Select(of).Order().ElementAt(debian.Count / 2);
        page.Append(CultureInfo.InvariantCulture, $"| {what} | {ours:0.0} | {theirs:0.0} | {ours / theirs:0.00} |\n");
    }
}
