namespace Sbox.Cli.Terminal;

/// <summary>Numbers as people read them.</summary>
internal static class Amount
{
    /// <summary>Bytes in binary units: <c>1.5 MiB</c>.</summary>
    public static string OfBytes(long bytes)
    {
        string[] units = ["B", "KiB", "MiB", "GiB", "TiB"];
        double value = bytes;
        int unit = 0;
        for (; value >= 1024 && unit < units.Length - 1; unit++)
            value /= 1024;
        return unit == 0 ? $"{bytes} B" : $"{value:0.0} {units[unit]}";
    }
}
