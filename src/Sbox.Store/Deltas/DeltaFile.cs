using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>A delta on disk: its superblock, and its parts where they lie, in files of their own or in the superblock's.</summary>
internal sealed class DeltaFile : IDisposable
{
    private readonly Dir dir;
    private readonly SafeFileHandle file;
    private readonly Dictionary<string, (long At, long Size)> inline;

    private DeltaFile(Dir dir, string name, Action<SignedDelta?>? verify)
    {
        this.dir = dir;
        Path = dir.Of(name);
        file = dir.TryOpenFile(name) ?? throw new DeltaException(Path, "No such file or directory");
        try
        {
            (Superblock, inline) = Read(dir, name, verify);
        }
        catch (MalformedException malformed)
        {
            throw new DeltaException(Path, malformed.Message, malformed);
        }
    }

    /// <summary>The superblock's path.</summary>
    public string Path { get; }

    /// <summary>The superblock. Parts that lie in it are not among its metadata, unless it is signed.</summary>
    public DeltaSuperblock Superblock { get; }

    /// <summary>Opens one.</summary>
    /// <param name="path">Its directory, or its superblock's file.</param>
    /// <param name="verify">Told what signs it; throws where it is not believed.</param>
    /// <exception cref="DeltaException">It is none.</exception>
    public static DeltaFile Open(string path, Action<SignedDelta?>? verify)
    {
        string full = System.IO.Path.GetFullPath(path);
        bool isDirectory = Directory.Exists(full);
        Dir dir = Dir.Open(isDirectory ? full : System.IO.Path.GetDirectoryName(full) ?? "/");
        try
        {
            return new DeltaFile(dir, isDirectory ? "superblock" : System.IO.Path.GetFileName(full), verify);
        }
        catch
        {
            dir.Dispose();
            throw;
        }
    }

    /// <summary>Whether a part lies in the superblock.</summary>
    public bool IsInline(int index) => inline.ContainsKey(Superblock.Name.Part(index)) || Superblock.IsInline(index);

    /// <summary>A part's bytes.</summary>
    /// <exception cref="DeltaException">It is nowhere.</exception>
    public Stream OpenPart(int index) =>
        inline.TryGetValue(Superblock.Name.Part(index), out (long At, long Size) place)
            ? new StretchStream((into, at) => Linux.Files.ReadAt(file, into, at, Path), place.At, place.Size)
            : Superblock.Inline(index) is { } bytes ? new MemoryStream(bytes, writable: false)
            : DeltaDirectory.OpenPart(dir, System.IO.Path.GetFileName(Superblock.PathOf(index)));

    public void Dispose()
    {
        file.Dispose();
        dir.Dispose();
    }

    // What is signed is hashed as a whole, and twice: then all of it is in memory.
    private (DeltaSuperblock, Dictionary<string, (long, long)>) Read(Dir holder, string name, Action<SignedDelta?>? verify)
    {
        Span<byte> first = stackalloc byte[sizeof(ulong)];
        bool isSigned = Linux.Files.ReadAt(file, first, 0, Path) == first.Length && BinaryPrimitives.ReadUInt64BigEndian(first) == DeltaSuperblock.SignedMagic;
        if (!isSigned)
        {
            verify?.Invoke(null);
            return InlineParts.Read(file, Path, DeltaDirectory.MaximumPulledSuperblock);
        }

        byte[] bytes = DeltaDirectory.Read(holder, name);
        verify?.Invoke(DeltaSuperblock.Signed(bytes));
        return (DeltaSuperblock.Parse(bytes), []);
    }
}
