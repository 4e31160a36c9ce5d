using System.Diagnostics;
using Sbox.Judges;

namespace Sbox.Boot.Tests;

/// <summary>
/// A physical root with one small deployment, made by real ostree and mkfs.ext4, and the means to try things on it: scripts run as root in a
/// mount namespace of their own, with a /run of their own and the physical root mounted read-only at <c>$SYSROOT</c>.
/// </summary>
public sealed class TinyBox : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-boot-").FullName;

    public TinyBox()
    {
        string tree = $"{directory}/tree", root = $"{directory}/root", repo = $"{root}/ostree/repo";
        foreach (string name in new[] { "usr/bin", "usr/etc", "usr/lib", "var", "sysroot", "proc", "sys", "dev", "run" })
            Directory.CreateDirectory($"{tree}/{name}");
        File.WriteAllText($"{tree}/usr/bin/program", new string('x', 100_000)); // too large to be inlined in the image
        File.WriteAllText($"{tree}/usr/etc/setting", "default\n");
        File.CreateSymbolicLink($"{tree}/ostree", "sysroot/ostree");

        Directory.CreateDirectory(repo);
        Judge.Ostree.Run($"--repo={repo}", "init", "--mode=bare");
        string commit = Judge.Ostree.Run($"--repo={repo}", "commit", "--branch=tiny", $"--tree=dir={tree}", "--owner-uid=0", "--owner-gid=0").Trim();
        Name = $"debian/{commit}.0";
        Deployment = $"ostree/deploy/debian/deploy/{commit}.0";
        Directory.CreateDirectory($"{root}/ostree/deploy/debian/deploy");
        Directory.CreateDirectory($"{root}/ostree/deploy/debian/var");
        Judge.Ostree.Run($"--repo={repo}", "checkout", "--require-hardlinks", commit, $"{root}/{Deployment}");
        Directory.CreateDirectory($"{root}/{Deployment}/etc");
        File.Copy($"{tree}/usr/etc/setting", $"{root}/{Deployment}/etc/setting");
        Verdict image = Judge.Ostree.Ask($"{root}/{Deployment}", null, [$"--repo={repo}", "checkout", "--composefs", commit, PhysicalRoot.ImageName]);
        Assert.True(image.ExitCode == 0, image.Error);

        Disk = $"{directory}/disk";
        using (FileStream disk = File.Create(Disk))
            disk.SetLength(32 << 20);
        Judge.OnPath("mkfs.ext4").Run("-q", "-O", "verity", "-d", root, Disk);
    }

    /// <summary>The deployment's name, as the kernel command line has it.</summary>
    public string Name { get; }

    /// <summary>The deployment's directory in the physical root.</summary>
    public string Deployment { get; }

    /// <summary>The ext4 image.</summary>
    public string Disk { get; }

    /// <summary>Runs a script; <c>sbox-root</c> and <c>probe</c> are functions in it. Output and error output come back as one.</summary>
    public string Try(string script)
    {
        string whole =
            $$"""
            mount -t tmpfs tmpfs /run
            export SYSROOT=/run/sysroot; mkdir $SYSROOT
            loop=$(losetup --find --show {{Disk}})
            trap 'losetup --detach $loop' EXIT
            mount -o ro $loop $SYSROOT
            sbox-root() { dotnet {{Built("Sbox.Initramfs", "sbox-root")}} --sysroot $SYSROOT --command-line "$@"; }
            probe() { dotnet {{Built("Sbox.Boot.Probe", "Sbox.Boot.Probe")}} "$@"; }
            {{script}}
            """;
        using Process process = Process.Start(new ProcessStartInfo("unshare", ["--mount", "bash", "-c", $"exec 2>&1\n{whole}"])
        {
            RedirectStandardOutput = true,
        })!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return output;
    }

    public void Dispose() => Directory.Delete(directory, recursive: true);

    /// <summary>A program of the source tree as it was built beside these tests.</summary>
    public static string Built(string project, string assembly)
    {
        // artifacts/bin/Sbox.Boot.Tests/debug/ -> artifacts/bin/PROJECT/debug/
        string own = AppContext.BaseDirectory.TrimEnd('/');
        return $"{Path.GetDirectoryName(Path.GetDirectoryName(own))}/{project}/{Path.GetFileName(own)}/{assembly}.dll";
    }
}
