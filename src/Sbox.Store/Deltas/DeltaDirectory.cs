using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Reads the files of a delta on disk.</summary>
internal static class DeltaDirectory
{
    /// <summary>Superblocks with parts in them may be large, where someone names one by its path; what is read of one at once must fit an array.</summary>
    public const long MaximumSuperblock = 1L << 30;

    /// <summary>Of one that a pull finds: it is in memory twice, and whoever listed it may be anybody.</summary>
    public const long MaximumPulledSuperblock = 64L << 20;

    /// <summary>A part that is a file of its own.</summary>
    /// <exception cref="DeltaException">There is none.</exception>
    public static Stream OpenPart(Dir dir, string name)
    {
        SafeFileHandle file = dir.TryOpenFile(name) ?? throw new DeltaException(dir.Of(name), $"Opening deltapart '{name}': No such file or directory");
        return new FileStream(file, FileAccess.Read, bufferSize: 0);
    }

    /// <summary>Reads a superblock's file.</summary>
    /// <exception cref="DeltaException">There is none, or it is too large.</exception>
    public static byte[] Read(Dir dir, string name) =>
        TryRead(dir, name, MaximumSuperblock) ?? throw new DeltaException(dir.Of(name), "No such file or directory");

    /// <summary>As <see cref="Read"/>; null where there is none.</summary>
    /// <exception cref="DeltaException">It is too large.</exception>
    public static byte[]? TryRead(Dir dir, string name, long maximum)
    {
        using SafeFileHandle? file = dir.TryOpenFile(name);
        return file is null ? null : ReadBytes(file, dir.Of(name), maximum);
    }

    /// <summary>All bytes of a superblock.</summary>
    /// <exception cref="DeltaException">There are too many.</exception>
    private static byte[] ReadBytes(SafeFileHandle file, string path, long maximum)
    {
        long size = RandomAccess.GetLength(file);
        if (size > maximum)
            throw new DeltaException(path, $"larger than {maximum} bytes");
        var bytes = GC.AllocateUninitializedArray<byte>((int)size);
        for (int filled = 0, read; filled < bytes.Length; filled += read)
        {
            read = Linux.Files.ReadAt(file, bytes.AsSpan(filled), filled, path);
            if (read == 0)
                throw new DeltaException(path, $"ends at {filled} of {size} bytes");
        }

        return bytes;
    }

    /// <summary>Reads a superblock's bytes.</summary>
    /// <exception cref="DeltaException">They are none.</exception>
    public static DeltaSuperblock Parse(ReadOnlySpan<byte> bytes, string path)
    {
        try
        {
            return DeltaSuperblock.Parse(bytes);
        }
        catch (MalformedException malformed)
        {
            throw new DeltaException(path, malformed.Message, malformed);
        }
    }
}
