using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>The C library's calls on mounts (glibc 2.36 and later) and on what the exec of a program needs.</summary>
internal static unsafe partial class LibC
{
    public const ulong MS_REC = 0x4000;
    public const ulong MS_PRIVATE = 1 << 18;
    public const ulong MS_SLAVE = 1 << 19;
    public const ulong MS_SHARED = 1 << 20;

    public const int MNT_FORCE = 1;
    public const int MNT_DETACH = 2;
    public const int UMOUNT_NOFOLLOW = 8;

    public const uint FSOPEN_CLOEXEC = 1;
    public const uint FSPICK_CLOEXEC = 1;
    public const uint FSPICK_EMPTY_PATH = 8;
    public const uint FSMOUNT_CLOEXEC = 1;

    public const uint FSCONFIG_SET_FLAG = 0;
    public const uint FSCONFIG_SET_STRING = 1;
    public const uint FSCONFIG_CMD_CREATE = 6;
    public const uint FSCONFIG_CMD_RECONFIGURE = 7;

    public const uint OPEN_TREE_CLONE = 1;
    public const uint OPEN_TREE_CLOEXEC = 0x80000;
    public const uint AT_RECURSIVE = 0x8000;
    public const uint MOVE_MOUNT_F_SYMLINKS = 1;
    public const uint MOVE_MOUNT_F_EMPTY_PATH = 4;
    public const uint MOVE_MOUNT_BENEATH = 0x200;

    public const int CLONE_NEWNS = 0x20000;

    public const ulong LOOP_CTL_GET_FREE = 0x4C82;
    public const ulong LOOP_CONFIGURE = 0x4C0A;

    /// <summary>struct mount_attr of linux/mount.h.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct MountAttr
    {
        public ulong Set, Clear, Propagation, UserNamespace;
    }

    /// <summary>struct statfs of the 64-bit architectures; only the leading fields are named.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 120)]
    public struct StatFs
    {
        public long Type, BlockSize;
        public ulong Blocks, BlocksFree, BlocksAvailable, Files, FilesFree;
        public fixed int Id[2];
        public long NameLength, FragmentSize, Flags;
    }

    public const ulong FICLONERANGE = 0x4020940D;

    [LibraryImport("libc", SetLastError = true)]
    public static partial int mount(byte* source, byte* target, byte* type, ulong flags, byte* data);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int umount2(byte* target, int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fsopen(byte* type, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fspick(int dir, byte* path, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fsconfig(int context, uint command, byte* key, byte* value, int aux);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fsmount(int context, uint flags, uint attributes);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int open_tree(int dir, byte* path, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int move_mount(int fromDir, byte* from, int toDir, byte* to, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int mount_setattr(int dir, byte* path, uint flags, MountAttr* attributes, nint size);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int unshare(int flags);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int execve(byte* path, byte** arguments, byte** environment);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int fstatfs(int fd, StatFs* result);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int ioctl(int fd, ulong request, void* argument);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int reboot(int command);

    [LibraryImport("libc")]
    public static partial void sync();
}
