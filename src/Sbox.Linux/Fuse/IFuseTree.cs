namespace Sbox.Linux;

/// <summary>What stat(2) shows of a node of a mounted tree.</summary>
/// <param name="Node">Its number, which is its inode number too; 1 is the root.</param>
/// <param name="Mode">Type and permission bits, as <c>st_mode</c>.</param>
/// <param name="Links">How many names it has.</param>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Modified">When its content changed.</param>
/// <param name="Accessed">When it was last read, as far as anybody knows.</param>
/// <param name="Changed">When anything of it changed.</param>
/// <param name="RawDevice">For device nodes, which device, as <c>st_rdev</c>.</param>
public readonly record struct FuseAttributes(
    ulong Node, uint Mode, uint Links, uint Uid, uint Gid, long Size, FuseTime Modified, FuseTime Accessed, FuseTime Changed, ulong RawDevice)
{
    /// <summary>The kind, from <see cref="Mode"/>.</summary>
    public FileKind Kind => (FileKind)(Mode & 0xF000);
}

/// <summary>A moment as the kernel has it.</summary>
/// <param name="Seconds">Since 1970; negative before.</param>
/// <param name="Nanoseconds">0 to 999,999,999.</param>
public readonly record struct FuseTime(long Seconds, uint Nanoseconds);

/// <summary>What df(1) shows.</summary>
/// <param name="Bytes">Size of all contents.</param>
/// <param name="Files">How many inodes.</param>
public readonly record struct FuseSpace(long Bytes, long Files);

/// <summary>
/// A tree that never changes, to be mounted by <see cref="FuseMount"/>. Calls come from several threads at once. What is at hand is answered
/// at once; what must be fetched is awaited, and other requests go on meanwhile.
/// </summary>
/// <remarks>
/// An error is a <see cref="LinuxException"/>, of which the reader sees the reason; anything else that is thrown is EIO to the reader. A
/// token is cancelled when the reader was interrupted or killed.
/// </remarks>
public interface IFuseTree
{
    /// <summary>It is about to be mounted: from here on the kernel's cache of it takes what is put there.</summary>
    void Mounting(FusePages pages)
    {
        // A tree that never knows more than it is asked has nothing to put there.
    }

    /// <summary>It is unmounted for good: no request comes any more, and what it kept for the kernel may go. A request that waited for something may still end after this.</summary>
    void Unmounted()
    {
        // A tree that keeps nothing outside of the collector's heap has nothing to give back.
    }

    /// <summary>Finds a name in a directory; null where there is none. The node is known to the kernel once more from here on.</summary>
    /// <param name="directory">Its number.</param>
    /// <param name="name">Its bytes, borrowed for the call; <c>.</c> and <c>..</c> mean what they do everywhere.</param>
    /// <param name="cancel">Cancelled when nobody waits any more.</param>
    ValueTask<FuseAttributes?> Lookup(ulong directory, ReadOnlyMemory<byte> name, CancellationToken cancel);

    /// <summary>What a node is; ESTALE where its number is not known.</summary>
    ValueTask<FuseAttributes> Attributes(ulong node, CancellationToken cancel);

    /// <summary>Puts the entries of a directory on a page until it is full.</summary>
    /// <param name="directory">Its number.</param>
    /// <param name="from">The place in the directory of the first entry to add; 0 for the beginning.</param>
    /// <param name="page">Takes the entries. Where it is <see cref="FuseDirectoryPage.WithAttributes"/>, each added one is known to the kernel once more.</param>
    /// <param name="cancel">Cancelled when nobody waits any more.</param>
    ValueTask ReadDirectory(ulong directory, int from, FuseDirectoryPage page, CancellationToken cancel);

    /// <summary>Reads a file: all the bytes that are wanted, save at its end.</summary>
    /// <param name="node">Its number.</param>
    /// <param name="offset">From which byte on.</param>
    /// <param name="content">Takes them.</param>
    /// <param name="cancel">Cancelled when nobody waits any more.</param>
    ValueTask Read(ulong node, long offset, FuseContent content, CancellationToken cancel);

    /// <summary>Where a symbolic link points, at most 4095 bytes.</summary>
    ValueTask<byte[]> ReadLink(ulong node, CancellationToken cancel);

    /// <summary>One extended attribute; null where there is none by that name.</summary>
    ValueTask<byte[]?> Xattr(ulong node, ReadOnlyMemory<byte> name, CancellationToken cancel);

    /// <summary>The names of all extended attributes, each followed by a NUL, as listxattr(2) has them.</summary>
    ValueTask<byte[]> XattrNames(ulong node, CancellationToken cancel);

    /// <summary>How large all of it is.</summary>
    FuseSpace Space { get; }

    /// <summary>The kernel gives up what <see cref="Lookup"/> and <see cref="ReadDirectory"/> told it of a node.</summary>
    /// <param name="node">Its number.</param>
    /// <param name="times">How many of the times that it was told.</param>
    void Forget(ulong node, ulong times);
}
