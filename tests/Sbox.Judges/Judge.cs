using System.Diagnostics;

namespace Sbox.Judges;

/// <summary>What a judge said.</summary>
/// <param name="ExitCode">0 when it is content.</param>
/// <param name="Output">Its standard output.</param>
/// <param name="Error">Its standard error.</param>
public sealed record Verdict(int ExitCode, string Output, string Error);

/// <summary>
/// A real tool that judges ours: the newest that Debian has, unpacked by tests/make-judges and run by its own loader, or one of the host's.
/// A judge that is missing fails the test that asked for it; it is never a quiet skip.
/// </summary>
public sealed class Judge
{
    private readonly string[] command;

    private Judge(params string[] command) => this.command = command;

    /// <summary>The words that run it, for those who time it themselves.</summary>
    public IReadOnlyList<string> Command => command;

    /// <summary>ostree of Debian forky (2026.4).</summary>
    public static Judge Ostree { get; } = Unpacked("usr/bin/ostree");

    /// <summary>ostree of the host (2022.7 on bookworm, 2025.2 on trixie).</summary>
    public static Judge HostOstree { get; } = OnPath("ostree");

    /// <summary>mkcomposefs 1.0.8.</summary>
    public static Judge MkComposefs { get; } = Unpacked("usr/bin/mkcomposefs");

    /// <summary>composefs-info 1.0.8.</summary>
    public static Judge ComposefsInfo { get; } = Unpacked("usr/bin/composefs-info");

    /// <summary>systemd's ukify, a Python program of the judges' Debian.</summary>
    public static Judge Ukify
    {
        get
        {
            // The interpreter is started by a loader, so it cannot find its library by its own name.
            string[] loader = [.. Directory.GetFiles(Path.Combine(Root, "usr/lib64"), "ld-linux-*"), .. Directory.GetFiles(Path.Combine(Root, "usr/lib"), "ld-linux-*")];
            string libraries = Directory.GetDirectories(Path.Combine(Root, "usr/lib"), "*-linux-gnu").Single();
            return new Judge(
                "env", $"PYTHONHOME={Root}/usr", $"PYTHONPATH={Root}/usr/lib/python3/dist-packages", "PYTHONDONTWRITEBYTECODE=1",
                loader[0], "--library-path", libraries, Path.Combine(Root, "usr/bin/python3"), Path.Combine(Root, "usr/bin/ukify"));
        }
    }

    /// <summary>fsck.erofs of the host.</summary>
    public static Judge FsckErofs { get; } = OnPath("fsck.erofs");

    /// <summary>restic of Debian trixie (0.18).</summary>
    public static Judge Restic { get; } = new(Path.Combine(Cache, "judges", "tomb", "usr/bin/restic"));

    /// <summary>restic-rest-server of Debian trixie (0.13).</summary>
    public static string ResticRestServer { get; } = Path.Combine(Cache, "judges", "tomb", "usr/bin/restic-rest-server");

    /// <summary>Where podman, crun, flatpak and bubblewrap of trixie are unpacked, to be lent to a machine that runs trixie.</summary>
    public static string Day { get; } = Path.Combine(Cache, "judges", "day");

    /// <summary>Where the judges of the newer Debian are unpacked.</summary>
    public static string Root => Environment.GetEnvironmentVariable("SBOX_JUDGES") ?? Path.Combine(Cache, "judges", "current");

    /// <summary>Where slow things are kept between runs.</summary>
    public static string Cache =>
        Environment.GetEnvironmentVariable("SBOX_CACHE") ??
        Path.Combine(
            Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } cache ? cache : Path.Combine(Environment.GetEnvironmentVariable("HOME") ?? "/root", ".cache"),
            "sbox");

    /// <summary>Any program on PATH.</summary>
    public static Judge OnPath(string program) => new(program);

    /// <summary>A program of the unpacked Debian, by its path there.</summary>
    public static Judge Unpacked(string path)
    {
        string loader = System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.Arm64
            ? "usr/lib/ld-linux-aarch64.so.1"
            : "usr/lib64/ld-linux-x86-64.so.2";
        string libraries = System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.Arm64
            ? "usr/lib/aarch64-linux-gnu"
            : "usr/lib/x86_64-linux-gnu";
        // Programs of systemd have a library of their own, in a directory below.
        return new Judge(Path.Combine(Root, loader), "--library-path", $"{Path.Combine(Root, libraries)}:{Path.Combine(Root, libraries, "systemd")}", Path.Combine(Root, path));
    }

    /// <summary>Runs it and returns its standard output.</summary>
    /// <exception cref="InvalidOperationException">It is missing, or not content; the message has its words.</exception>
    public string Run(params string[] arguments)
    {
        Verdict verdict = Ask(arguments);
        return verdict.ExitCode == 0
            ? verdict.Output
            : throw new InvalidOperationException($"{command[^1]} {string.Join(' ', arguments)}: exit status {verdict.ExitCode}\n{verdict.Output}{verdict.Error}");
    }

    /// <summary>Runs it, whatever it says.</summary>
    /// <exception cref="InvalidOperationException">It is missing.</exception>
    public Verdict Ask(params string[] arguments) => Ask(null, null, arguments);

    /// <summary>Runs it in a directory, with some bytes on its standard input.</summary>
    /// <exception cref="InvalidOperationException">It is missing.</exception>
    public Verdict Ask(string? directory, string? input, string[] arguments)
    {
        foreach (string part in command.Where(static part => part.StartsWith('/') && !part.Contains(':', StringComparison.Ordinal)))
        {
            if (!Path.Exists(part))
                throw new InvalidOperationException($"a judge is missing: {part}; ./test unpacks it (tests/make-judges)");
        }

        var start = new ProcessStartInfo(command[0])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            WorkingDirectory = directory ?? "",
        };
        foreach (string argument in command.Skip(1).Concat(arguments))
            start.ArgumentList.Add(argument);
        using Process process = Start(start);
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        process.StandardInput.Write(input ?? "");
        process.StandardInput.Close();
        process.WaitForExit();
        return new Verdict(process.ExitCode, output.Result, error.Result);
    }

    private static Process Start(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception missing)
        {
            throw new InvalidOperationException($"a judge is missing: {start.FileName}; ./test installs it", missing);
        }
    }
}
