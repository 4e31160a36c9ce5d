using System.Globalization;
using System.Text;

namespace Sbox.Codecs;

/// <summary>A cpio archive as the kernel unpacks it into its first root: format "newc", everything root's, no times.</summary>
/// <remarks>After the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. Judge: the kernel, <c>cpio -t</c>.</remarks>
public static class CpioArchive
{
    private const uint Directory = 0x41ED, Regular = 0x81A4; // 040755, 0100644

    /// <summary>An archive of one file and the directories on its way.</summary>
    /// <param name="path">The file's path, without a slash in front.</param>
    /// <param name="content">Its bytes.</param>
    public static byte[] Of(string path, ReadOnlySpan<byte> content)
    {
        var archive = new MemoryStream();
        uint inode = 1;
        for (int slash = path.IndexOf('/', StringComparison.Ordinal); slash > 0; slash = path.IndexOf('/', slash + 1))
            Add(archive, path[..slash], Directory, inode++, default);
        Add(archive, path, Regular, inode, content);
        Add(archive, "TRAILER!!!", 0, 0, default);
        return archive.ToArray();
    }

    private static void Add(MemoryStream archive, string name, uint mode, uint inode, ReadOnlySpan<byte> content)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(name + "\0");
        // Magic, then 13 fields of eight hexadecimal digits: the fields that are 0 are owner, time, devices and checksum.
        uint[] fields = [inode, mode, 0, 0, 1, 0, (uint)content.Length, 0, 0, 0, 0, (uint)bytes.Length, 0];
        archive.Write("070701"u8);
        foreach (uint field in fields)
            archive.Write(Encoding.ASCII.GetBytes(field.ToString("X8", CultureInfo.InvariantCulture)));
        archive.Write(bytes);
        Pad(archive);
        archive.Write(content);
        Pad(archive);
    }

    private static void Pad(MemoryStream archive) => archive.Write(new byte[(4 - (archive.Length % 4)) % 4]);
}
