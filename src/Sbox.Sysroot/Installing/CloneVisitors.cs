using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>How far the writing, or the reading back, of a disk has come.</summary>
/// <param name="Step">What is being done, in a few words.</param>
/// <param name="Done">Bytes.</param>
/// <param name="Total">Bytes in all.</param>
public readonly record struct InstallProgress(string Step, long Done, long Total)
{
    /// <summary>How much of the step's time has passed, 0 to 1, as far as can be known: a box is thousands of small files, each of which takes time by itself, and some large ones.</summary>
    public double Share { get; init; } = Total > 0 ? (double)Done / Total : 0;
}

/// <summary>Counts what was written, or compared, and tells of it: files and bytes are each taken for half of the time.</summary>
/// <param name="bytes">Bytes of files in all.</param>
/// <param name="files">Files, links and directories in all.</param>
/// <param name="progress">Who is told.</param>
internal sealed class CloneCount(long bytes, long files, IProgress<InstallProgress>? progress)
{
    private long doneFiles;

    /// <summary>Bytes so far.</summary>
    public long Done { get; private set; }

    /// <summary>One more.</summary>
    public void Add(string step, in FileStat stat)
    {
        doneFiles++;
        Done += stat.IsRegular ? stat.Size : 0;
        progress?.Report(new InstallProgress(step, Done, bytes) { Share = Half(Done, bytes) + Half(doneFiles, files) });
    }

    /// <summary>A directory.</summary>
    public void AddDirectory() => doneFiles++;

    // What came meanwhile may be more than there was.
    private static double Half(long done, long all) => all > 0 ? Math.Min(done, all) * 0.5 / all : 0.5;
}

/// <summary>What a clone will take: every inode once, however many names it has.</summary>
internal sealed class CloneMeasure : ICloneVisitor
{
    private readonly HashSet<ulong> seen = [];

    /// <summary>Bytes of files.</summary>
    public long Bytes { get; private set; }

    /// <summary>Bytes on the disk, directories included.</summary>
    public long Allocated { get; private set; }

    /// <summary>Files, links and directories.</summary>
    public long Inodes { get; private set; }

    public bool Enter(Dir from, string name, string newName)
    {
        Inodes++;
        Allocated += RootFileSystem.BlockSize;
        return true;
    }

    public void Leave(Dir from, string name, string newName)
    {
    }

    public void Leaf(in CloneLeaf leaf)
    {
        if (leaf.IsShared && !seen.Add(leaf.Stat.Inode))
            return;
        Inodes++;
        Bytes += leaf.Stat.IsRegular ? leaf.Stat.Size : 0;
        Allocated += (leaf.Stat.Blocks * 512) + RootFileSystem.BlockSize; // rounded up, and its attributes
    }

    public void Emptied(in CloneLeaf leaf) => Inodes++;
}

/// <summary>Writes a clone: names, bytes, owners, modes, attributes, times; what is sealed is sealed there too. What comes last is not synced.</summary>
internal sealed class CloneWriter(Dir root, CloneCount count) : ICloneVisitor, IDisposable
{
    // What is told as written is on the disk but for this: a slow stick would otherwise take minutes of which nothing is told, when the memory has taken all of it at once.
    private const long SyncedBytes = 32 << 20;

    private readonly Dictionary<ulong, string> linked = [];
    private readonly Stack<Dir> open = [];
    private long synced;

    private Dir Here => open.TryPeek(out Dir? here) ? here : root;

    public bool Enter(Dir from, string name, string newName)
    {
        TreeCopy.Directory(from, name, Here, newName);
        count.AddDirectory();
        open.Push(Here.OpenDir(newName));
        return true;
    }

    public void Leave(Dir from, string name, string newName)
    {
        open.Pop().Dispose();
        TreeCopy.Directory(from, name, Here, newName); // its times: names have come since
    }

    public void Leaf(in CloneLeaf leaf)
    {
        if (leaf.IsShared && linked.TryGetValue(leaf.Stat.Inode, out string? first))
        {
            if (!root.TryLink(first, Here, leaf.NewName))
                throw new LinuxException(Errno.EEXIST, "linkat", Here.Of(leaf.NewName));
            return;
        }

        if (!Write(leaf))
            return;
        if (leaf.IsShared)
            linked.Add(leaf.Stat.Inode, leaf.Path);
        count.Add("writing", leaf.Stat);
        if (count.Done - synced < SyncedBytes)
            return;
        Durable.SyncFileSystem(root);
        synced = count.Done;
    }

    public void Emptied(in CloneLeaf leaf)
    {
        using (SafeFileHandle file = Here.CreateFile(leaf.NewName))
            Files.ChangeMode(file, leaf.Stat.Permissions, Here.Of(leaf.NewName));
        Here.ChangeOwner(leaf.NewName, leaf.Stat.Uid, leaf.Stat.Gid);
    }

    public void Dispose()
    {
        while (open.TryPop(out Dir? dir))
            dir.Dispose();
    }

    private bool Write(in CloneLeaf leaf)
    {
        if (leaf.Stat.Kind is FileKind.Fifo or FileKind.CharacterDevice or FileKind.BlockDevice)
        {
            TreeCopy.Node(leaf.From, leaf.Name, Here, leaf.NewName);
            return true;
        }

        if (!TreeCopy.Leaf(leaf.From, leaf.Name, Here, leaf.NewName))
            return false; // a socket, or gone meanwhile
        if (!leaf.IsDefault && Verity.IsEnabled(leaf.From, leaf.Name) == true)
            Seal(leaf.NewName);
        return true;
    }

    private void Seal(string name)
    {
        using SafeFileHandle file = Here.OpenFile(name);
        if (Verity.TryEnable(file, Here.Of(name)) == VerityState.Unsupported)
            throw new LinuxException(Errno.EOPNOTSUPP, "ioctl(FS_IOC_ENABLE_VERITY)", Here.Of(name));
    }
}

/// <summary>Reads a clone back and compares it with what it was made of.</summary>
internal sealed class CloneComparison(Dir root, CloneCount count, CancellationToken cancel) : ICloneVisitor, IDisposable
{
    private const int BufferBytes = 1 << 20;
    private readonly HashSet<ulong> seen = [];
    private readonly byte[] mine = new byte[BufferBytes], theirs = new byte[BufferBytes];

    /// <summary>Files that were written to while they were copied: the clone has them as they were at some moment of it.</summary>
    public long ChangedMeanwhile { get; private set; }

    private readonly Stack<Dir> open = [];

    private Dir Here => open.TryPeek(out Dir? here) ? here : root;

    public bool Enter(Dir from, string name, string newName)
    {
        if (Here.TryOpenDir(newName) is not { } inner)
        {
            ChangedMeanwhile++;
            return false;
        }

        count.AddDirectory();
        open.Push(inner);
        return true;
    }

    public void Leave(Dir from, string name, string newName) => open.Pop().Dispose();

    public void Leaf(in CloneLeaf leaf)
    {
        if (leaf.Stat.Kind == FileKind.Socket || (leaf.IsShared && !seen.Add(leaf.Stat.Inode)))
            return;
        if (Here.TryStat(leaf.NewName) is not { } copy || copy.Kind != leaf.Stat.Kind || TimeOf(copy) != TimeOf(leaf.Stat))
        {
            ChangedMeanwhile++;
            return;
        }

        bool same = copy.Kind switch
        {
            FileKind.Regular => copy.Size == leaf.Stat.Size && Same(leaf.From, leaf.Name, leaf.NewName),
            FileKind.Symlink => Here.ReadLink(leaf.NewName) == leaf.From.ReadLink(leaf.Name),
            _ => copy.RawDevice == leaf.Stat.RawDevice,
        };
        if (!same)
            throw new CloneDamagedException(Here.Of(leaf.NewName));
        count.Add("reading back", copy);
    }

    public void Emptied(in CloneLeaf leaf)
    {
    }

    public void Dispose()
    {
        while (open.TryPop(out Dir? dir))
            dir.Dispose();
    }

    private static (long, uint) TimeOf(FileStat stat) => (stat.ModifiedSeconds, stat.ModifiedNanoseconds);

    private bool Same(Dir from, string name, string newName)
    {
        using SafeFileHandle source = from.OpenFile(name), copy = Here.OpenFile(newName);
        for (long at = 0; ;)
        {
            cancel.ThrowIfCancellationRequested();
            int read = Files.ReadAt(source, mine, at, from.Of(name)), there = Files.ReadAt(copy, theirs, at, Here.Of(newName));
            if (!mine.AsSpan(0, read).SequenceEqual(theirs.AsSpan(0, there)))
                return false;
            if (read == 0)
                return true;
            at += read;
        }
    }
}

/// <summary>A disk gives back other bytes than it was given.</summary>
/// <param name="path">The file, or the device.</param>
public sealed class CloneDamagedException(string path) : SysrootException($"{path}: the disk gives back other bytes than were written there")
{
    /// <summary>The file, or the device.</summary>
    public string Path { get; } = path;
}
