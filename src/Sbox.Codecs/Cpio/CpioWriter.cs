using System.Globalization;
using System.Text;

namespace Sbox.Codecs.Cpio;

/// <summary>
/// Writes a cpio archive as the kernel unpacks it into an initramfs: format "newc", everything owned by root and of the same time, so
/// that the same entries give the same bytes.
/// </summary>
/// <remarks>docs/formats/initrd.md, after the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. Judge: GNU cpio.</remarks>
public sealed class CpioWriter(Stream output)
{
    private const uint DirectoryType = 0x4000, FileType = 0x8000, LinkType = 0xA000;
    private static readonly byte[] Zeros = new byte[512];

    private readonly HashSet<string> directories = new(StringComparer.Ordinal);
    private long written;
    private uint inode;

    /// <summary>A whole archive of one file and the directories on its way.</summary>
    public static byte[] Of(string path, ReadOnlySpan<byte> content)
    {
        using var output = new MemoryStream();
        var cpio = new CpioWriter(output);
        cpio.File(path, content);
        cpio.Finish();
        return output.ToArray();
    }

    /// <summary>Adds a directory, 0755, and its parents; one that is there already is left alone.</summary>
    /// <param name="path">Relative, <c>/</c> between names.</param>
    public void Directory(string path)
    {
        if (path.Length == 0 || !directories.Add(path))
            return;
        Directory(ParentOf(path));
        Entry(path, DirectoryType | 0x1ED /* 0755 */, [], links: 2);
    }

    /// <summary>Adds a file, 0755: what an initrd holds is programs and modules.</summary>
    /// <exception cref="ArgumentException">The content is larger than the format's 4 GiB.</exception>
    public void File(string path, ReadOnlySpan<byte> content)
    {
        Directory(ParentOf(path));
        Entry(path, FileType | 0x1ED, content, links: 1);
    }

    /// <summary>Adds a symbolic link.</summary>
    public void Link(string path, string target)
    {
        Directory(ParentOf(path));
        Entry(path, LinkType | 0x1FF, Encoding.UTF8.GetBytes(target), links: 1);
    }

    /// <summary>Ends the archive, filled up to a multiple of 512 bytes.</summary>
    public void Finish()
    {
        Entry("TRAILER!!!", 0, [], links: 1, hasInode: false);
        Pad(512);
    }

    private static string ParentOf(string path) => path.LastIndexOf('/') is > 0 and var slash ? path[..slash] : "";

    private void Entry(string path, uint mode, ReadOnlySpan<byte> content, uint links, bool hasInode = true)
    {
        byte[] name = Encoding.UTF8.GetBytes(path + "\0");
        var header = new StringBuilder("070701", 110);
        // inode, mode, uid, gid, links, time, size, the device's and the node's numbers, the name's size with its NUL, no checksum
        foreach (uint field in (ReadOnlySpan<uint>)[hasInode ? inode++ : 0, mode, 0, 0, links, 0, checked((uint)content.Length), 0, 0, 0, 0, (uint)name.Length, 0])
            header.Append(field.ToString("X8", CultureInfo.InvariantCulture));
        Write(Encoding.ASCII.GetBytes(header.ToString()));
        Write(name);
        Pad(4);
        Write(content);
        Pad(4);
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        output.Write(bytes);
        written += bytes.Length;
    }

    private void Pad(int multiple) => Write(Zeros.AsSpan(0, (int)((multiple - (written % multiple)) % multiple)));
}
