using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>A file system that nobody may write to for a moment. To stand still it writes its journal to where the journal's blocks belong, which a sync does not.</summary>
public static unsafe class FrozenFileSystem
{
    /// <summary>Freezes a file system and lets it go at once: FIFREEZE and FITHAW of ioctl_fs(2). Between the two whoever writes to it waits.</summary>
    /// <param name="dir">A directory of it.</param>
    /// <returns><see cref="Errno.None"/>; EOPNOTSUPP where it cannot be frozen, EPERM without the right to, EBUSY where somebody else has frozen it.</returns>
    /// <exception cref="LinuxException">It is frozen, and could not be let go.</exception>
    /// <remarks>Whoever dies in between leaves it frozen; the caller sees to it that somebody lives on who lets it go.</remarks>
    public static Errno Pass(Dir dir)
    {
        using var fd = new Borrowed(dir.Handle);
        Errno frozen = Answer.Of(LibC.ioctl(fd.Number, LibC.FIFREEZE, null));
        if (frozen != Errno.None)
            return frozen;
        Errno thawed = Answer.Of(LibC.ioctl(fd.Number, LibC.FITHAW, null));
        return thawed is Errno.None or Errno.EINVAL // somebody else was faster
            ? Errno.None : throw new LinuxException(thawed, "ioctl(FITHAW)", dir.Path);
    }
}

internal static unsafe partial class LibC
{
    public const ulong FIFREEZE = 0xC0045877, FITHAW = 0xC0045878; // _IOWR('X', 119, int), _IOWR('X', 120, int)
}
