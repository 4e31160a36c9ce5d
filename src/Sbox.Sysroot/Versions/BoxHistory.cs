using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Boot;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>Something that happened to what a box boots.</summary>
/// <param name="Time">When.</param>
/// <param name="What">What: <c>deploy</c>, <c>rollback</c>, <c>undeploy</c>, <c>pin</c>, <c>unpin</c>, <c>boot</c>, <c>good</c>, <c>bad</c>, <c>fallback</c>, <c>reset</c>.</param>
/// <param name="Deployment">Which deployment, as <c>OS/CHECKSUM.SERIAL</c>; empty where it is none's.</param>
/// <param name="Version">Its version; null where it has none.</param>
/// <param name="Detail">What else is to be said; null for nothing.</param>
public sealed record HistoryEntry(DateTimeOffset Time, string What, string Deployment, string? Version, string? Detail);

/// <summary>What a box did, in <c>/var/lib/sbox/history</c>: one JSON object a line, oldest first, the older half dropped at a mebibyte.</summary>
/// <remarks>Told, not relied on: nothing reads it to decide, and where it cannot be written the work goes on.</remarks>
public static class BoxHistory
{
    private const string Name = "history";
    private const int Largest = 1 << 20;

    /// <summary>Adds a line, after the deed. Whatever is wrong with history or commit: the deed is done, and this never makes an error of it.</summary>
    /// <param name="sysroot">The box.</param>
    /// <param name="what">What happened.</param>
    /// <param name="name">To which deployment.</param>
    /// <param name="detail">What else is to be said.</param>
    /// <param name="version">Its version, where its commit may be gone by now; null to look.</param>
    public static void Add(OstreeSysroot sysroot, string what, DeploymentName name, string? detail = null, string? version = null)
    {
        try
        {
            string directory = $"{name.VarDirectory}/lib/sbox";
            sysroot.Root.MakeDirs(directory);
            using Dir own = sysroot.Root.OpenDir(directory);
            string old = own.TryReadAll(Name) is { } bytes ? Encoding.UTF8.GetString(bytes) : "";
            if (old.Length > Largest)
                old = old[(old.IndexOf('\n', old.Length / 2) + 1)..];
            string line = Line(new HistoryEntry(sysroot.Options.Clock.GetUtcNow(), what, name.ToString(), version ?? VersionOf(sysroot, name), detail));
            Durable.Replace(own, Name, Encoding.UTF8.GetBytes(old + line + "\n"));
        }
        catch (Exception refused) when (refused is LinuxException or IOException)
        {
            // A full or failing disk has its own errors; a missing line here is none of them.
        }
    }

    /// <summary>A deployment's version; null also where its commit is damaged.</summary>
    internal static string? VersionOf(OstreeSysroot sysroot, DeploymentName name)
    {
        try
        {
            return DeploymentSelector.VersionOf(sysroot, name);
        }
        catch (Exception damaged) when (damaged is LinuxException or IOException or FormatException or RepositoryException)
        {
            return null; // fsck and status say so; here it is a line without a version
        }
    }

    /// <summary>Reads all of a stateroot's; lines that cannot be read are passed over.</summary>
    public static IReadOnlyList<HistoryEntry> Read(OstreeSysroot sysroot, string os)
    {
        string text = sysroot.Root.TryReadAll($"{Layout.Stateroot(os)}/var/lib/sbox/{Name}") is { } bytes ? Encoding.UTF8.GetString(bytes) : "";
        return [.. text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(Parse).OfType<HistoryEntry>()];
    }

    private static string Line(HistoryEntry entry)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            writer.WriteString("time", entry.Time.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture));
            writer.WriteString("what", entry.What);
            writer.WriteString("deployment", entry.Deployment);
            writer.WriteString("version", entry.Version);
            writer.WriteString("detail", entry.Detail);
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    private static HistoryEntry? Parse(string line)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            string? Text(string name) => document.RootElement.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
            return DateTimeOffset.TryParse(Text("time"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset time) && Text("what") is { } what
                ? new HistoryEntry(time, what, Text("deployment") ?? "", Text("version"), Text("detail")) : null;
        }
        catch (Exception unreadable) when (unreadable is JsonException or InvalidOperationException)
        {
            return null;
        }
    }
}
