using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>What was read of a file of an upper layer.</summary>
/// <param name="Entry">The file as it was when it was read.</param>
/// <param name="Content">Its blobs.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Still">Whether nobody can have written to it meanwhile: as long as its times stay, this is what it holds.</param>
internal sealed record UpperContent(UpperEntry Entry, IReadOnlyList<Checksum> Content, long Size, bool Still);

/// <summary>A directory of an upper layer: as it is now, or as it was at one moment.</summary>
internal interface IUpperDirectory : IDisposable
{
    /// <summary>All that is in it, in the order of the names' bytes.</summary>
    /// <exception cref="LinuxException">It cannot be read.</exception>
    IEnumerable<UpperEntry> Entries();

    /// <summary>A directory in it.</summary>
    /// <exception cref="LinuxException">It is gone, or cannot be opened.</exception>
    IUpperDirectory Enter(UpperEntry entry);

    /// <summary>Reads a file in it.</summary>
    /// <exception cref="LinuxException">It is gone, or cannot be read.</exception>
    UpperContent Read(UpperEntry entry, ContentReader reader);

    /// <summary>The path of a name in it, for errors.</summary>
    string Of(string name);
}

/// <summary>One as it is now, while programs may write into it.</summary>
internal sealed class LiveDirectory(Dir dir, bool owned = false) : IUpperDirectory
{
    private const int TriesOfAMovingFile = 3;

    public IEnumerable<UpperEntry> Entries() => UpperEntry.In(dir);

    public IUpperDirectory Enter(UpperEntry entry) => new LiveDirectory(dir.OpenDir(entry.Name), owned: true);

    public UpperContent Read(UpperEntry entry, ContentReader reader)
    {
        using SafeFileHandle file = dir.OpenFile(entry.Name);
        string path = dir.Of(entry.Name);
        for (int tries = 1; ; tries++)
        {
            DateTimeOffset begun = DateTimeOffset.UtcNow;
            FileStat stat = Files.Stat(file, path);
            (IReadOnlyList<Checksum> content, long size) = reader.Read(file, path);
            bool still = Files.Stat(file, path) == stat && size == stat.Size;

            // A file that never holds still is saved as it was read; not noted as saved, it is read again the next time.
            if (still || tries == TriesOfAMovingFile)
                return new UpperContent(entry with { Stat = stat, Attributes = UpperEntry.Own(Xattrs.Read(file, path)) }, content, size, still && KernelTick.HasPassed(stat, begun));
        }
    }

    public string Of(string name) => dir.Of(name);

    public void Dispose()
    {
        if (owned)
            dir.Dispose();
    }
}
