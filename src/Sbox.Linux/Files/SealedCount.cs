namespace Sbox.Linux;

/// <summary>How many files of a directory are sealed (fs-verity).</summary>
/// <param name="Sealed">Those that the kernel proves.</param>
/// <param name="Total">All of them, sealed or not.</param>
public readonly record struct SealedCount(long Sealed, long Total)
{
    /// <summary>Which names count, by their bytes.</summary>
    public delegate bool Filter(ReadOnlySpan<byte> name);

    /// <summary>Counts the regular files of a directory. Nothing is made of their names: a repository has tens of thousands of them.</summary>
    /// <param name="dir">A directory that was opened for this and is read by nobody else.</param>
    /// <param name="counts">Which names count.</param>
    /// <param name="look">Whether to ask the kernel of each; without, none is taken to be sealed, and only those are asked of whose kind the file system does not say.</param>
    /// <exception cref="LinuxException">Something may not be looked at.</exception>
    public static unsafe SealedCount In(Dir dir, Filter counts, bool look)
    {
        (long done, long total) = (0, 0);
        using var fd = new Borrowed(dir.Handle);
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(32 * 1024);
        try
        {
            fixed (byte* into = buffer)
            {
                while (true)
                {
                    nint filled = LibC.getdents64(fd.Number, into, buffer.Length);
                    Answer.Check(filled, "getdents64", dir.Path);
                    if (filled == 0)
                        return new SealedCount(done, total);
                    var names = new DirRecords(buffer.AsSpan(0, (int)filled));
                    while (names.TryNext(out ReadOnlySpan<byte> name, out FileKind kind, out _))
                    {
                        if (kind is not (FileKind.Regular or FileKind.Unknown) || !counts(name))
                            continue;
                        bool? isSealed = !look && kind == FileKind.Regular ? false : IsSealed(fd.Number, name, dir);
                        total += isSealed is null ? 0 : 1;
                        done += isSealed == true ? 1 : 0;
                    }
                }
            }
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    // Null for what is no regular file, or is gone since the directory was read.
    private static unsafe bool? IsSealed(int directory, ReadOnlySpan<byte> name, Dir dir)
    {
        LibC.Statx raw = default;
        fixed (byte* path = name)
        {
            Errno errno = Answer.Of(LibC.statx(directory, path, LibC.AT_SYMLINK_NOFOLLOW, LibC.STATX_BASIC_STATS, &raw));
            if (errno is not (Errno.None or Errno.ENOENT))
                throw new LinuxException(errno, "statx", dir.Of(FileName.FromBytes(name)));
            return errno == Errno.None && (FileKind)(raw.Mode & 0xF000) == FileKind.Regular ? (raw.Attributes & LibC.STATX_ATTR_VERITY) != 0 : null;
        }
    }
}
