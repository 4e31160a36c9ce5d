namespace Sbox.Sysroot;

/// <summary>Printers and bluetooth devices, by name.</summary>
internal static class DeviceMeanings
{
    private static readonly string[] Told = ["DeviceURI", "MakeModel", "Info", "Location"]; // that a printer was idle at some time is no change

    /// <summary>CUPS' printers.conf: <c>&lt;Printer NAME&gt;</c>, lines, <c>&lt;/Printer&gt;</c>.</summary>
    public static IEnumerable<string> Printers(string? before, string? now)
    {
        Dictionary<string, (string Settings, bool IsDefault)> old = Blocks(before), @new = Blocks(now);
        foreach (string name in old.Keys.Union(@new.Keys).Order(StringComparer.Ordinal))
        {
            bool was = old.TryGetValue(name, out var settings), isNow = @new.TryGetValue(name, out var changed);
            if (was != isNow)
                yield return $"printer {name} {(isNow ? "added" : "removed")}";
            else if (settings.Settings != changed.Settings)
                yield return $"printer {name} changed";
            if (isNow && changed.IsDefault && !settings.IsDefault)
                yield return $"printer {name} is the default one";
        }
    }

    /// <summary>BlueZ' file of one device: <c>/var/lib/bluetooth/ADAPTER/DEVICE/info</c>.</summary>
    public static IEnumerable<string> Bluetooth(string path, string? before, string? now)
    {
        string? text = now ?? before;
        return [$"bluetooth device {LedgerMeaning.KeyFile(text, "General", "Alias") ?? LedgerMeaning.KeyFile(text, "General", "Name") ?? path.Split('/')[^2]} {LedgerMeaning.Verb(before, now)}"];
    }

    private static Dictionary<string, (string Settings, bool IsDefault)> Blocks(string? text)
    {
        var blocks = new Dictionary<string, (string, bool)>(StringComparer.Ordinal);
        string? name = null;
        var settings = new List<string>();
        bool isDefault = false;
        foreach (string line in LedgerMeaning.Lines(text))
        {
            if (line is ['<', not '/', .., '>'] && line[1..^1].Split(' ', 2) is ["Printer" or "DefaultPrinter", var named])
                (name, isDefault) = (named, line.StartsWith("<Default", StringComparison.Ordinal));
            else if (line.StartsWith("</", StringComparison.Ordinal) && name is not null)
            {
                blocks.TryAdd(name, (string.Join('\n', settings), isDefault));
                settings.Clear();
                name = null;
            }
            else if (name is not null && Told.Contains(line.Split(' ', 2)[0]))
                settings.Add(line);
        }

        return blocks;
    }
}
