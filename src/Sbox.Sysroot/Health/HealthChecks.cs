using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>What a health check said.</summary>
/// <param name="Path">The program.</param>
/// <param name="IsRequired">Whether the version is bad where this fails; otherwise it is only told.</param>
/// <param name="Failure">Why it failed, its last words; null where it passed.</param>
public sealed record HealthFinding(string Path, bool IsRequired, string? Failure);

/// <summary>
/// Runs the programs that decide whether a version is good: all that may be executed in <c>health.d/required</c> and <c>health.d/wanted</c> of
/// <c>/usr/lib/sbox</c> and <c>/etc/sbox</c>, one after the other in the order of their names. A file of /etc takes the place of one of the same name in /usr/lib;
/// a link to /dev/null takes it away.
/// </summary>
public static class HealthChecks
{
    /// <summary>Where they are.</summary>
    public static IReadOnlyList<string> Directories { get; } = ["/usr/lib/sbox/health.d", "/etc/sbox/health.d"];

    /// <summary>Runs them.</summary>
    /// <param name="directories">In the order in which a later one takes an earlier one's place.</param>
    /// <param name="limit">How long one may take.</param>
    /// <param name="report">Told each as it is done.</param>
    /// <param name="cancel">Ends the one that runs.</param>
    public static IReadOnlyList<HealthFinding> Run(IReadOnlyList<string> directories, TimeSpan limit, Action<HealthFinding>? report = null, CancellationToken cancel = default)
    {
        var findings = new List<HealthFinding>();
        foreach ((string path, bool required) in Programs(directories))
        {
            var finding = new HealthFinding(path, required, Failure(path, limit, cancel));
            findings.Add(finding);
            report?.Invoke(finding);
        }

        return findings;
    }

    internal static IReadOnlyList<(string Path, bool IsRequired)> Programs(IReadOnlyList<string> directories)
    {
        var programs = new List<(string, bool)>();
        foreach ((string kind, bool required) in (ReadOnlySpan<(string, bool)>)[("required", true), ("wanted", false)])
        {
            var byName = new SortedDictionary<string, string>(StringComparer.Ordinal);
            foreach (string directory in directories)
            {
                foreach (string file in Directory.Exists($"{directory}/{kind}") ? Directory.GetFiles($"{directory}/{kind}") : [])
                    byName[Path.GetFileName(file)] = file;
            }

            programs.AddRange(byName.Values.Where(IsProgram).Select(file => (file, required)));
        }

        return programs;
    }

    // Of a link, what it leads to.
    private static bool IsProgram(string path)
    {
        string file = File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path;
        if (!File.Exists(file))
            return false;
        using Dir directory = Dir.Open(Path.GetDirectoryName(file)!);
        return directory.TryStat(Path.GetFileName(file)) is { IsRegular: true } stat && (stat.Permissions & 0x49) != 0; // 0111
    }

    private static string? Failure(string path, TimeSpan limit, CancellationToken cancel)
    {
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        timer.CancelAfter(limit);
        string last = "";
        try
        {
            ChildResult result = ChildProcess.Run(new ChildCommand(path, []), line => last = line.Trim().Length > 0 ? line.Trim() : last, timer.Token);
            return result.ExitCode == 0 ? null : last.Length > 0 ? $"exit status {result.ExitCode}: {last}" : $"exit status {result.ExitCode}";
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            return $"took more than {limit.TotalSeconds:0} s";
        }
        catch (Exception unstarted) when (unstarted is IOException or System.ComponentModel.Win32Exception or LinuxException or UnauthorizedAccessException)
        {
            return $"could not be started: {unstarted.Message}";
        }
    }
}
