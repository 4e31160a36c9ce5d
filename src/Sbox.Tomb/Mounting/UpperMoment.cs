using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>
/// An upper layer as it is when this is made: its names and attributes in memory, and copies of the files that are not known yet. Whoever makes it sees to it
/// that nobody writes meanwhile.
/// </summary>
internal sealed class UpperMoment : IDisposable
{
    private readonly CopiedFiles copies;
    private readonly Dictionary<ulong, long> places = [];
    private readonly Func<FileStat, bool> isKnown;

    /// <summary>Looks at all of it, and copies.</summary>
    /// <param name="layer">Holds the upper layer as <c>upper</c>, and takes the copies, without a name.</param>
    /// <param name="isKnown">Whether a file need not be copied.</param>
    /// <param name="room">Bytes that the copies may take.</param>
    /// <exception cref="LinuxException">Refused; ENOSPC where the copies take more.</exception>
    public UpperMoment(Dir layer, Func<FileStat, bool> isKnown, long room)
    {
        this.isKnown = isKnown;
        copies = new CopiedFiles(layer, room);
        try
        {
            Top = UpperEntry.At(layer, "upper") ?? throw new LinuxException(Errno.ENOENT, "openat", layer.Of("upper"));
            using Dir upper = layer.OpenDir("upper");
            Directory = Look(upper);
        }
        catch
        {
            copies.Dispose();
            throw;
        }
    }

    /// <summary>The upper layer's own top.</summary>
    public UpperEntry Top { get; }

    /// <summary>What is in it.</summary>
    public IUpperDirectory Directory { get; }

    /// <summary>The copies are gone.</summary>
    public void Dispose() => copies.Dispose();

    private Still Look(Dir dir)
    {
        var entries = new List<UpperEntry>();
        Dictionary<string, Still>? below = null;
        foreach (UpperEntry entry in UpperEntry.In(dir))
        {
            entries.Add(entry);
            if (entry.Stat.IsDirectory)
            {
                using Dir inner = dir.OpenDir(entry.Name);
                (below ??= [])[entry.Name] = Look(inner);
            }
            else if (entry is { Stat.IsRegular: true, Kind: UpperKind.Present } && !places.ContainsKey(entry.Stat.Inode) && !isKnown(entry.Stat))
            {
                using SafeFileHandle file = dir.OpenFile(entry.Name);
                places[entry.Stat.Inode] = copies.Add(file, entry.Stat.Size) ?? throw new LinuxException(Errno.ENOSPC, "copy", dir.Of(entry.Name));
            }
        }

        return new Still(this, dir.Path, entries, below);
    }

    private sealed class Still(UpperMoment moment, string path, List<UpperEntry> entries, Dictionary<string, Still>? below) : IUpperDirectory
    {
        public IEnumerable<UpperEntry> Entries() => entries;

        public IUpperDirectory Enter(UpperEntry entry) => below![entry.Name];

        public UpperContent Read(UpperEntry entry, ContentReader reader)
        {
            if (!moment.places.TryGetValue(entry.Stat.Inode, out long at))
                throw new LinuxException(Errno.ESTALE, "copy", $"{Of(entry.Name)}: it was in the tomb a moment ago");
            (IReadOnlyList<Checksum> content, long size) = reader.Read(moment.copies.File, Of(entry.Name), at, entry.Stat.Size);
            return new UpperContent(entry, content, size, Still: true);
        }

        public string Of(string name) => $"{path}/{name}";

        public void Dispose()
        {
            // The moment is disposed of as a whole.
        }
    }
}
