using System.Globalization;
using System.Text.Json;
using Sbox.Judges;

namespace Sbox.Tour.Tests;

/// <summary>The disk of a machine that does not run.</summary>
internal static class MachineDisk
{
    /// <summary>Copies a partition out of it.</summary>
    /// <param name="disk">The machine's changes, qcow2.</param>
    /// <param name="image">The raw image below them, whose table says where the partition is.</param>
    /// <param name="slot">Which partition, from 0.</param>
    /// <param name="file">Where to.</param>
    /// <returns>That file.</returns>
    public static string TakeOut(string disk, string image, int slot, string file)
    {
        JsonElement partition = JsonDocument.Parse(Judge.OnPath("sfdisk").Run("-J", image)).RootElement.GetProperty("partitiontable").GetProperty("partitions")[slot];
        string part = string.Create(CultureInfo.InvariantCulture, $"driver=raw,offset={partition.GetProperty("start").GetInt64() * 512},size={partition.GetProperty("size").GetInt64() * 512}");
        Judge.OnPath("qemu-img").Run("convert", "--image-opts", $"{part},file.driver=qcow2,file.file.driver=file,file.file.filename={disk}", "-O", "raw", file);
        return file;
    }
}
