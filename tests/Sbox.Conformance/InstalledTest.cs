using System.Diagnostics;
using System.Text.RegularExpressions;
using Sbox.Judges;

namespace Sbox.Conformance;

/// <summary>What became of one of libostree's test scripts.</summary>
/// <param name="ExitCode">0 when it ran to its end.</param>
/// <param name="Passed">Its checks that passed.</param>
/// <param name="Skipped">Those of them that it skipped, for want of something (GPG in ours, SELinux here).</param>
/// <param name="Planned">Its checks, as far as it says how many; 0 when it skipped itself.</param>
/// <param name="Skip">Why it skipped itself as a whole; null when it ran.</param>
/// <param name="Seconds">Wall time.</param>
/// <param name="Log">All that it said.</param>
public sealed record Outcome(int ExitCode, int Passed, int Skipped, int Planned, string? Skip, double Seconds, string Log)
{
    /// <summary>Whether it ran, and every check of it passed.</summary>
    public bool IsWhole => ExitCode == 0 && Skip is null && Passed > 0 && Passed >= Planned;

    /// <summary><c>7 of 7</c>, or why it did not run.</summary>
    public override string ToString() => Skip is not null ? $"skips itself: {Skip}" : $"{Passed} of {(Planned > 0 ? Planned : "?")}{(Skipped > 0 ? $", {Skipped} of them skipped" : "")}";
}

/// <summary>
/// libostree's own tests as Debian packages them (ostree-tests), run in the unpacked Debian of the judges with one of two programs named
/// ostree: ours, or the real one as control. What a test needs besides (a web server, setfattr) is the real thing in both.
/// </summary>
public sealed partial class InstalledTest(string name)
{
    private const string Installed = "usr/share/installed-tests/libostree";
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    // In namespaces of its own: mounts and whatever a test leaves running are gone when it ends. The unpacked Debian stays as it was,
    // since all that a test may write to is in memory.
    private const string Script = """
        set -e
        root=$1 program=$2 command=$3
        for place in var/tmp tmp srv run; do mount -t tmpfs tmpfs "$root/$place"; done
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount --rbind /sys "$root/sys"
        mkdir -p "$root/srv/bin" "$root/var/tmp/work"
        if [ ! -e "$root/usr/bin/xz" ]; then cp "$(command -v xz)" "$root/srv/bin/xz"; fi  # some tests unpack .tar.xz
        if [ -n "$program" ]; then cp "$program" "$root/srv/bin/sbox"; ln -s sbox "$root/srv/bin/ostree"; fi
        # This one takes the program itself for one of its small files, of which none is left to be fetched by itself.
        case "$program$command" in /*test-delta.sh*) rm "$root/srv/bin/ostree"
          printf '#!/bin/bash\nexec -a ostree /srv/bin/sbox "$@"\n' > "$root/srv/bin/ostree"; chmod +x "$root/srv/bin/ostree" ;; esac
        exec chroot "$root" env -i HOME=/var/tmp LANG=C.UTF-8 PATH=/srv/bin:/usr/bin:/bin:/usr/sbin:/sbin \
          sh -c "cd /var/tmp/work && exec $command"
        """;

    /// <summary>Its file name: <c>test-refs.sh</c>.</summary>
    public string Name { get; } = name;

    /// <summary>Whether the unpacked Debian has it.</summary>
    public bool Exists => File.Exists(Description);

    /// <summary>Runs it.</summary>
    /// <param name="ours">Our program; null for the real one.</param>
    /// <exception cref="InvalidOperationException">There is no such test: the judges are missing.</exception>
    public Outcome Run(string? ours)
    {
        if (!Exists)
            throw new InvalidOperationException($"a judge is missing: {Description}; tests/make-judges unpacks it");
        string command = File.ReadLines(Description).First(static line => line.StartsWith("Exec=", StringComparison.Ordinal))["Exec=".Length..];
        var start = new ProcessStartInfo("timeout") { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        foreach (string word in (string[])[
            "--kill-after=10", $"{Limit.TotalSeconds}", "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", Script, "sh", Root, ours ?? "", command])
            start.ArgumentList.Add(word);
        var clock = Stopwatch.StartNew();
        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        process.WaitForExit();
        return Judge(process.ExitCode, output.Result, error.Result, clock.Elapsed.TotalSeconds);
    }

    /// <summary>Reads what a test says (Test Anything Protocol).</summary>
    internal static Outcome Judge(int exitCode, string output, string error, double seconds)
    {
        string[] lines = output.Split('\n');
        int passed = lines.Count(static line => Ok().IsMatch(line));
        int skipped = lines.Count(static line => Ok().IsMatch(line) && line.Contains("# SKIP", StringComparison.OrdinalIgnoreCase));
        Match plan = lines.Select(static line => Plan().Match(line)).LastOrDefault(static match => match.Success) ?? Match.Empty;
        int planned = plan.Success ? int.Parse(plan.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture) : 0;
        string? skip = plan.Success && planned == 0 ? plan.Groups[2].Value.Trim() : null;
        return new Outcome(exitCode, passed, skipped, planned, skip, seconds, output + error);
    }

    private static string Root => Path.GetFullPath(new DirectoryInfo(Judges.Judge.Root).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? Judges.Judge.Root);

    private string Description => Path.Combine(Root, Installed, Name + ".test");

    [GeneratedRegex(@"^ok\b")]
    private static partial Regex Ok();

    [GeneratedRegex(@"^1\.\.(\d+)(?:\s*# SKIP(.*))?")]
    private static partial Regex Plan();
}
