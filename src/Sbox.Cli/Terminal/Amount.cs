namespace Sbox.Cli.Terminal;

/// <summary>Numbers as people read them.</summary>
internal static class Amount
{
    /// <summary>Bytes as libostree's programs print them (g_format_size): <c>1.5 kB</c>, with a space that does not break.</summary>
    public static string Decimal(long bytes)
    {
        string[] units = ["kB", "MB", "GB", "TB"];
        if (bytes < 1000)
            return bytes == 1 ? "1 byte" : $"{bytes} bytes";
        double value = bytes / 1000.0;
        int unit = 0;
        for (; value >= 1000 && unit < units.Length - 1; unit++)
            value /= 1000;
        return $"{value:0.0}\u00A0{units[unit]}";
    }

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
