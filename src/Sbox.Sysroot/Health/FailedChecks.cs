using System.Text;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// The health checks that failed when they were last asked: <c>/run/sbox/health</c>, one a line, <c>required</c> or <c>wanted</c>, the program, why, with tabs between them.
/// It is in memory, and everybody may read it; a soft reboot leaves it there, so what starts then forgets it.
/// </summary>
/// <param name="run">Where /run is.</param>
public sealed class FailedChecks(string run = "/run")
{
    private const string Directory = "sbox", Name = "health", Required = "required", Wanted = "wanted";

    /// <summary>Reads them; lines that cannot be read are passed over.</summary>
    /// <returns>Empty where none failed, or none was asked since the machine started.</returns>
    public IReadOnlyList<HealthFinding> Read()
    {
        using Dir at = Dir.Open(run);
        using Dir? dir = at.TryOpenDir(Directory);
        return dir?.TryReadAll(Name) is { } bytes ? [.. Encoding.UTF8.GetString(bytes).Split('\n').Select(Parse).OfType<HealthFinding>()] : [];
    }

    /// <summary>Remembers those that failed in place of what was remembered before.</summary>
    /// <param name="findings">What all of them said; none forgets everything.</param>
    /// <exception cref="LinuxException">There is no room; what was remembered before still is.</exception>
    public void Write(IReadOnlyList<HealthFinding> findings)
    {
        string text = string.Concat(findings.Where(static each => each.Failure is not null)
            .Select(static each => $"{(each.IsRequired ? Required : Wanted)}\t{each.Path}\t{each.Failure!.ReplaceLineEndings(" ")}\n"));
        using Dir at = Dir.Open(run);
        using Dir dir = at.MakeAndOpenDir(Directory);
        if (text.Length == 0)
            dir.TryUnlink(Name);
        else
            Durable.Replace(dir, Name, Encoding.UTF8.GetBytes(text));
    }

    private static HealthFinding? Parse(string line) =>
        line.Split('\t', 3) is [(Required or Wanted) and var kind, var path, var failure] ? new HealthFinding(path, kind == Required, failure) : null;
}
