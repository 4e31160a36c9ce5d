using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>What an upper layer holds at one moment, without reading a file.</summary>
/// <param name="Fingerprint">Changes with every change of any name, attribute or content.</param>
/// <param name="Entries">Names in it.</param>
/// <param name="Bytes">Bytes of its files.</param>
/// <param name="Unsaved">Files that were not saved since their bytes changed, each name of one, as a save counts what it reads.</param>
/// <param name="UnsavedBytes">Their bytes.</param>
/// <param name="Newest">The latest change of any inode, in seconds since 1970; those ahead of the clock are left out.</param>
/// <param name="Suspects">Those of the suspected inodes that are in it.</param>
/// <param name="Largest">The files that take most of it, largest first: a few of those of <see cref="Large"/> bytes and more. The first byte that is written to a file brings all of it here.</param>
internal sealed record UpperLook(
    Checksum Fingerprint, long Entries, long Bytes, long Unsaved, long UnsavedBytes, double Newest, IReadOnlySet<ulong> Suspects, IReadOnlyList<(string Path, long Bytes)> Largest)
{
    /// <summary>From how many bytes on a file is named.</summary>
    public const long Large = 64L << 20;

    private const int Named = 3;

    /// <summary>Looks at an upper layer.</summary>
    /// <param name="upper">Its top.</param>
    /// <param name="saved">What was saved already.</param>
    /// <param name="suspects">Inodes of files whose bytes may have changed although no time of theirs did.</param>
    /// <param name="cancel">Ends it.</param>
    public static UpperLook At(Dir upper, SavedFiles saved, IReadOnlySet<ulong> suspects, CancellationToken cancel)
    {
        using var walk = new Walk(saved, suspects, cancel);
        FileStat top = upper.Stat();
        walk.Note(".", top);
        walk.Directory(upper);
        return walk.Result();
    }

    private sealed class Walk(SavedFiles saved, IReadOnlySet<ulong> suspects, CancellationToken cancel) : IDisposable
    {
        private readonly IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private readonly HashSet<ulong> found = [];
        private readonly List<string> way = [];
        private readonly List<(string Path, long Bytes)> large = [];
        private long entries, bytes, unsaved, unsavedBytes;
        private double newest;

        public UpperLook Result() => new(Checksum.FromBytes(hash.GetHashAndReset()), entries, bytes, unsaved, unsavedBytes, newest, found, [.. large.OrderByDescending(static each => each.Bytes).Take(Named)]);

        public void Dispose() => hash.Dispose();

        public void Directory(Dir directory)
        {
            cancel.ThrowIfCancellationRequested();
            foreach (DirEntry entry in directory.Entries())
            {
                if (directory.TryStat(entry.Name) is not { } stat)
                    continue;
                Note(entry.Name, stat);
                entries++;
                if (stat.IsDirectory)
                {
                    using Dir? inner = directory.TryOpenDir(entry.Name);
                    way.Add(entry.Name);
                    if (inner is not null)
                        Directory(inner);
                    way.RemoveAt(way.Count - 1);
                    hash.AppendData("\0/"u8); // where a directory ends
                }
                else if (stat.IsRegular)
                {
                    if (suspects.Contains(stat.Inode))
                        found.Add(stat.Inode);
                    bytes += stat.Blocks * 512; // of a file of which only attributes changed there are none
                    if (stat.Blocks * 512 >= Large)
                        large.Add((string.Join('/', way.Append(entry.Name)), stat.Blocks * 512));
                    if ((stat.Size == 0 || stat.Blocks > 0) && (!saved.Has(stat) || suspects.Contains(stat.Inode)))
                    {
                        unsaved++;
                        unsavedBytes += stat.Size;
                    }
                }
            }
        }

        public void Note(string name, in FileStat stat)
        {
            double changed = stat.ChangedSeconds + (stat.ChangedNanoseconds / 1e9);
            if (changed > newest && !KernelTick.IsAhead(changed))
                newest = changed;
            hash.AppendData(MemoryMarshal.AsBytes(name.AsSpan()));
            ReadOnlySpan<ulong> facts =
            [
                stat.Inode, stat.Mode, stat.Links, ((ulong)stat.Uid << 32) | stat.Gid, (ulong)stat.Size, (ulong)stat.ModifiedSeconds, stat.ModifiedNanoseconds,
                (ulong)stat.ChangedSeconds, stat.ChangedNanoseconds, stat.RawDevice,
            ];
            hash.AppendData(MemoryMarshal.AsBytes(facts));
        }
    }
}
