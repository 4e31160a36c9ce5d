using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>There is no disk that could be written to: this boot runs from a copy in memory.</summary>
public sealed class NoDiskException() : IOException("this boot runs from memory, and what it was copied from is let go of: there is no disk to read or write");

/// <summary>What a boot that asked to run from memory found: the copy that it runs from, or why there is none.</summary>
/// <param name="Medium">The device that was copied, or was to be: <c>/dev/sda2</c>.</param>
/// <param name="Bytes">Bytes that the copy takes.</param>
/// <param name="Took">How long copying took.</param>
/// <param name="Refused">Why there is no copy, and the root is on the medium; null where there is one.</param>
/// <remarks>docs/decisions/0028-the-medium-is-copied-by-its-blocks.md.</remarks>
public sealed record MemoryDisk(string Medium, long Bytes, TimeSpan Took, string? Refused = null)
{
    /// <summary>Where the copy is: below <c>/run</c>, in a place that systemd leaves alone to the very end.</summary>
    public const string Directory = "initramfs/sbox-memory";

    /// <summary>The copy's name there.</summary>
    public const string FileName = "disk";

    private const string StateDirectory = "sbox", StateName = "memory-disk", LoginMessages = "motd.d";

    /// <summary>What the running boot found; null where it did not ask to run from memory.</summary>
    /// <param name="run">Where /run is.</param>
    public static MemoryDisk? Read(string run = "/run")
    {
        string path = $"{run}/{StateDirectory}/{StateName}";
        if (!File.Exists(path))
            return null;
        Dictionary<string, string> lines = File.ReadLines(path).Select(static line => line.Split('=', 2)).Where(static pair => pair.Length == 2).ToDictionary(static pair => pair[0], static pair => pair[1]);
        long Number(string key) => long.TryParse(lines.GetValueOrDefault(key), NumberStyles.None, CultureInfo.InvariantCulture, out long value) ? value : 0;
        return new MemoryDisk(lines.GetValueOrDefault("medium", "?"), Number("bytes"), TimeSpan.FromMilliseconds(Number("milliseconds")), lines.GetValueOrDefault("refused"));
    }

    /// <summary>Whether the running boot's physical root is a copy in memory.</summary>
    /// <param name="run">Where /run is.</param>
    public static bool IsUsed(string run = "/run") => Read(run) is { Refused: null };

    /// <summary>Says that a boot that asked for it runs from its medium all the same.</summary>
    /// <param name="why">Why.</param>
    /// <param name="say">One line for the console.</param>
    public static void Decline(string why, Action<string> say)
    {
        say($"this boot runs from its disk, and not from memory: {why}; leave it in");
        new MemoryDisk("its disk", 0, TimeSpan.Zero, why).Leave();
    }

    /// <summary>Leaves it to the running box; where there is no copy, to everybody who logs in too: they may be about to pull the medium out.</summary>
    internal void Leave(string run = "/run")
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"medium={Medium}\nbytes={Bytes}\nmilliseconds={(long)Took.TotalMilliseconds}\n");
        if (Refused is not null)
            text.Append(CultureInfo.InvariantCulture, $"refused={Refused.ReplaceLineEndings(" ")}\n");
        using Dir root = Dir.Open(run);
        using (Dir ours = root.MakeAndOpenDir(StateDirectory))
            Write(ours, StateName, text.ToString());
        if (Refused is null)
            return;
        using Dir messages = root.MakeAndOpenDir(LoginMessages);
        Write(messages, "50-sbox-memory", $"This boot runs from {Medium}, and not from memory: {Refused}. Leave it in.\n");
    }

    private static void Write(Dir directory, string name, string text)
    {
        directory.TryUnlink(name);
        using SafeFileHandle file = directory.CreateFile(name);
        RandomAccess.Write(file, Encoding.UTF8.GetBytes(text), fileOffset: 0);
    }
}
