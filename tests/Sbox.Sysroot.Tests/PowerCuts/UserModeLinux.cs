using System.Diagnostics;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>
/// A real kernel with FAT that runs as a program: Debian's user-mode-linux, unpacked by tests/make-judges. The host's files are its root; disks of its own are files of the host. Its mounts,
/// caches and writes to these are the kernel's, whatever kernel the host has.
/// </summary>
internal static class UserModeLinux
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    private static string Home => Path.Combine(Judge.Cache, "judges", "uml");

    /// <summary>Boots it, runs a script as its first program, and ends when that does.</summary>
    /// <param name="directory">Where the script is put; not below /dev, which is its own.</param>
    /// <param name="disks">Files that are <c>/dev/ubda</c>, <c>/dev/ubdb</c> ... in it.</param>
    /// <param name="script">What is done; devices and FAT are there.</param>
    /// <exception cref="InvalidOperationException">It was not there, or did not come to its end.</exception>
    public static void Run(string directory, IReadOnlyList<string> disks, string script)
    {
        string program = Path.Combine(Home, "usr/bin/linux.uml"), init = Path.Combine(directory, "init");
        if (!File.Exists(program))
            throw new InvalidOperationException($"a judge is missing: {program}; ./test unpacks it (tests/make-judges)");
        string modules = Directory.GetDirectories(Path.Combine(Home, "usr/lib/uml/modules")).Single();
        File.WriteAllText(init, Beginning.Replace("MODULES", modules, StringComparison.Ordinal) + script + End);
        using (Dir at = Dir.Open(directory))
            at.ChangeMode("init", 0x1C0); // 0700
        var start = new ProcessStartInfo("timeout", [
            $"{Limit.TotalSeconds}", program, "mem=768M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", $"init={init}", "con=null", "con0=null,fd:1", "quiet",
            .. disks.Select(static (disk, index) => $"ubd{(char)('a' + index)}={disk}")]) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        // Its memory is a file there.
        start.Environment["TMPDIR"] = "/dev/shm";
        start.Environment["HOME"] = directory;
        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        process.WaitForExit();
        if (!output.Result.Contains("the script is done: 0", StringComparison.Ordinal))
            throw new InvalidOperationException($"user-mode-linux: exit status {process.ExitCode}\n{output.Result}\n{error.Result}");
    }

    private const string Beginning = """
        #!/bin/sh
        exec >/dev/console 2>&1
        mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmp /run
        export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run DOTNET_EnableDiagnostics=0 DOTNET_EnableWriteXorExecute=0 DOTNET_TieredPGO=0
        # finit_module(2): every Debian has Perl, not every one insmod.
        load='open(M, "<", shift) or die; my $none = ""; syscall(313, fileno(M), $none, 0) == 0 or die $!'
        for module in fat/fat fat/vfat nls/nls_cp437 nls/nls_iso8859-1; do perl -e "$load" MODULES/kernel/fs/$module.ko; done
        (
        set -e

        """;

    private const string End = """

        )
        echo "the script is done: $?"
        sync
        echo o > /proc/sysrq-trigger
        sleep 60
        """;
}
