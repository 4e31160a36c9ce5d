namespace Sbox.Linux;

/// <summary>What statfs(2) says of a file system.</summary>
/// <param name="Type">Its magic number; <c>0x4d44</c> is FAT, <c>0xef53</c> ext4, <c>0x794c7630</c> overlay, <c>0xe0f5e1e2</c> EROFS.</param>
/// <param name="TotalBytes">Its size.</param>
/// <param name="AvailableBytes">What an unprivileged user may still write.</param>
/// <param name="FreeBytes">What root may still write.</param>
/// <param name="FreeInodes">Files that may still be made; 0 where the file system does not count them.</param>
public readonly record struct FileSystemSpace(uint Type, long TotalBytes, long AvailableBytes, long FreeBytes, long FreeInodes)
{
    /// <summary>FAT's magic number.</summary>
    public const uint Fat = 0x4d44;

    /// <summary>overlayfs's magic number.</summary>
    public const uint Overlay = 0x794c7630;

    // NFS, SMB, CIFS, Ceph, both AFS, Coda, 9p, and FUSE, behind which sshfs and others are; of an overlay nobody knows what lies below.
    private static readonly uint[] Network = [0x6969, 0x517b, 0xfe534d42, 0xff534d42, 0x00c36400, 0x5346414f, 0x6b414653, 0x73757245, 0x01021997, 0x65735546, Overlay];

    /// <summary>Whether its files lie on another machine, or may.</summary>
    public bool MayBeFar => Network.Contains(Type);

    /// <summary>Asks about the file system that holds a directory.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static unsafe FileSystemSpace Of(Dir dir)
    {
        LibC.StatFs raw = default;
        using var fd = new Borrowed(dir.Handle);
        Answer.Check(LibC.fstatfs(fd.Number, &raw), "fstatfs", dir.Path);
        long unit = raw.FragmentSize > 0 ? raw.FragmentSize : raw.BlockSize;
        return new FileSystemSpace(
            (uint)raw.Type, (long)raw.Blocks * unit, (long)raw.BlocksAvailable * unit, (long)raw.BlocksFree * unit, (long)raw.FilesFree);
    }
}
