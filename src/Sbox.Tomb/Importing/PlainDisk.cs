using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>An encrypted disk as a plain one: a directory with one file, which the kernel can make a block device of.</summary>
/// <param name="volume">The disk; disposed when nobody has this mounted any more.</param>
internal sealed class PlainDisk(LuksVolume volume) : IFuseTree
{
    /// <summary>The file's name.</summary>
    public const string Name = "disk";

    private const ulong Root = 1, Disk = 2;
    private const int SectorSize = Luks1Header.SectorSize;

    /// <inheritdoc/>
    public FuseSpace Space => new(volume.Length, 1);

    /// <inheritdoc/>
    public void Unmounted() => volume.Dispose();

    /// <inheritdoc/>
    public ValueTask<FuseAttributes?> Lookup(ulong directory, ReadOnlyMemory<byte> name, CancellationToken cancel) =>
        new(FileName.FromBytes(name.Span) switch { Name => AttributesOf(Disk), "." or ".." => AttributesOf(Root), _ => null });

    /// <inheritdoc/>
    public ValueTask<FuseAttributes> Attributes(ulong node, CancellationToken cancel) => new(AttributesOf(node));

    /// <inheritdoc/>
    public ValueTask ReadDirectory(ulong directory, int from, FuseDirectoryPage page, CancellationToken cancel)
    {
        if (from == 0)
            page.TryAdd(0, FileName.ToBytes(Name), AttributesOf(Disk));
        return default;
    }

    /// <inheritdoc/>
    public ValueTask Read(ulong node, long offset, FuseContent content, CancellationToken cancel)
    {
        int length = (int)Math.Clamp(volume.Length - offset, 0, content.Wanted);
        Decipher(offset, content.Room.Span[..length]);
        content.Fill(length);
        return default;
    }

    private void Decipher(long offset, Span<byte> into)
    {
        int length = into.Length;
        if (offset % SectorSize == 0 && length % SectorSize == 0)
        {
            volume.Read(offset, into);
            return;
        }

        long first = offset / SectorSize * SectorSize, last = (offset + length + SectorSize - 1) / SectorSize * SectorSize;
        using var sectors = new SecretMemory((int)(last - first));
        volume.Read(first, sectors.Span);
        sectors.Span.Slice((int)(offset - first), length).CopyTo(into);
    }

    /// <inheritdoc/>
    public ValueTask<byte[]> ReadLink(ulong node, CancellationToken cancel) => throw new LinuxException(Errno.EINVAL, "readlink", Name);

    /// <inheritdoc/>
    public ValueTask<byte[]?> Xattr(ulong node, ReadOnlyMemory<byte> name, CancellationToken cancel) => new((byte[]?)null);

    /// <inheritdoc/>
    public ValueTask<byte[]> XattrNames(ulong node, CancellationToken cancel) => new([]);

    /// <inheritdoc/>
    public void Forget(ulong node, ulong times)
    {
        // There are two nodes, and both stay.
    }

    private FuseAttributes AttributesOf(ulong node) => node == Root
        ? new FuseAttributes(Root, (uint)FileKind.Directory | 0x140 /* 0500 */, 1, 0, 0, 0, default, default, default, 0)
        : new FuseAttributes(Disk, (uint)FileKind.Regular | 0x100 /* 0400 */, 1, 0, 0, volume.Length, default, default, default, 0);
}
