using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>Which files of an upper layer have been saved, and as what: a file that has not changed since is not read again.</summary>
internal sealed class SavedFiles
{
    private readonly Dictionary<ulong, Saved> files = [];
    private readonly HashSet<ulong> ever = []; // of what is read again it is known that it is not new
    private readonly Lock gate = new();

    /// <summary>Notes a file's content.</summary>
    public void Add(in FileStat stat, IReadOnlyList<Checksum> content)
    {
        lock (gate)
        {
            ever.Add(stat.Inode);
            files[stat.Inode] = new Saved(stat.Size, stat.ModifiedSeconds, stat.ModifiedNanoseconds, stat.ChangedSeconds, stat.ChangedNanoseconds, content);
        }
    }

    /// <summary>Has some files read again.</summary>
    public void Forget(IEnumerable<ulong> inodes)
    {
        lock (gate)
        {
            foreach (ulong inode in inodes)
                files.Remove(inode);
        }
    }

    /// <summary>Has all files read again.</summary>
    public void Clear()
    {
        lock (gate)
            files.Clear();
    }

    /// <summary>Whether a save had the file before, as it is now or otherwise.</summary>
    public bool Knew(in FileStat stat)
    {
        lock (gate)
            return ever.Contains(stat.Inode);
    }

    /// <summary>Whether the file is as it was when it was saved.</summary>
    public bool Has(in FileStat stat) => Content(stat) is not null;

    /// <summary>Its blobs when it is as it was saved; null otherwise.</summary>
    public IReadOnlyList<Checksum>? Content(in FileStat stat)
    {
        lock (gate)
        {
            return files.TryGetValue(stat.Inode, out Saved? saved) && saved.Size == stat.Size
                && saved.ModifiedSeconds == stat.ModifiedSeconds && saved.ModifiedNanoseconds == stat.ModifiedNanoseconds
                && saved.ChangedSeconds == stat.ChangedSeconds && saved.ChangedNanoseconds == stat.ChangedNanoseconds
                ? saved.Content
                : null;
        }
    }

    private sealed record Saved(long Size, long ModifiedSeconds, uint ModifiedNanoseconds, long ChangedSeconds, uint ChangedNanoseconds, IReadOnlyList<Checksum> Content);
}
