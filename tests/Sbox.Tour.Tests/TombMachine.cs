using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>The demo's box without firmware and boot loader, which tests of tombs have no use for.</summary>
internal static class TombMachine
{
    /// <summary>A machine in a directory of its own.</summary>
    public static VmOptions Options(Tools tools, DemoImage image, string directory)
    {
        string modules = tools.Ostree($"--repo={image.Served}", "ls", image.First, "/usr/lib/modules").Split('/')[^1];
        string Taken(string name)
        {
            tools.Ostree($"--repo={image.Served}", "checkout", "-U", $"--subpath=/usr/lib/modules/{modules}/{name}", image.First, Path.Combine(directory, $"{name}.d"));
            return Path.Combine(directory, $"{name}.d", name);
        }

        return new VmOptions(Path.Combine(directory, "machine"), image.Disk)
        {
            Kernel = Taken("vmlinuz"), Initrd = Taken("initramfs.img"), MemoryMiB = 1024,
            CommandLine = $"root=LABEL=sbox-root sbox.deployment=debian/{image.First}.0 console=ttyS0,115200 quiet",
        };
    }
}
