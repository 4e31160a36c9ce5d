using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>A change in a directory that is watched.</summary>
/// <param name="Name">The name in it; empty for the directory itself.</param>
/// <param name="Process">Who changed it.</param>
public readonly record struct FileChange(string Name, int Process);

/// <summary>Watches one directory, and the files directly in it, for changes, by fanotify(7), which also tells who.</summary>
public sealed unsafe class FileWatch : IDisposable
{
    private const uint Cloexec = 1, NonBlock = 2, ReportDirectoryAndName = 0x400 | 0x800;
    private const uint MarkAdd = 1, OnlyDirectory = 8;
    private const ulong Modify = 2, Attributes = 4, CloseWrite = 8, MovedFrom = 0x40, MovedTo = 0x80, Create = 0x100, Delete = 0x200;
    private const ulong DeleteSelf = 0x400, MoveSelf = 0x800, Children = 0x08000000, Directories = 0x40000000;
    private const int MetadataSize = 24;

    private FileWatch(SafeFileHandle handle, string directory) => (Handle, DirectoryPath) = (handle, directory);

    /// <summary>Readable when something changed.</summary>
    public SafeFileHandle Handle { get; }

    /// <summary>What is watched.</summary>
    public string DirectoryPath { get; }

    /// <summary>Begins to watch.</summary>
    /// <param name="directory">A directory that is there.</param>
    /// <exception cref="LinuxException">It is not there (ENOENT), or fanotify is refused (EPERM, ENOSYS).</exception>
    public static FileWatch Open(string directory)
    {
        int fd = LibC.fanotify_init(Cloexec | NonBlock | ReportDirectoryAndName, (uint)LibC.O_RDONLY);
        Answer.Check(fd, "fanotify_init", directory);
        var handle = new SafeFileHandle(fd, ownsHandle: true);
        fixed (byte* path = CString.Of(directory))
        {
            const ulong changes = Modify | Attributes | CloseWrite | MovedFrom | MovedTo | Create | Delete | DeleteSelf | MoveSelf | Children | Directories;
            Errno errno = Answer.Of(LibC.fanotify_mark(fd, MarkAdd | OnlyDirectory, changes, LibC.AT_FDCWD, path));
            if (errno == Errno.None)
                return new FileWatch(handle, directory);
            handle.Dispose();
            throw new LinuxException(errno, "fanotify_mark", directory);
        }
    }

    /// <summary>What changed since the last call; several changes of one name by one process are one.</summary>
    public IReadOnlyList<FileChange> Take()
    {
        var changes = new List<FileChange>();
        Span<byte> buffer = stackalloc byte[4096];
        using var fd = new Borrowed(Handle);
        while (true)
        {
            nint length;
            fixed (byte* into = buffer)
                length = LibC.read(fd.Number, into, buffer.Length);
            if (Answer.Of(length) != Errno.None || length == 0)
                return changes;
            for (ReadOnlySpan<byte> rest = buffer[..(int)length]; rest.Length >= MetadataSize;)
            {
                int size = (int)BinaryPrimitives.ReadUInt32LittleEndian(rest);
                var change = new FileChange(NameIn(rest[MetadataSize..size]), BinaryPrimitives.ReadInt32LittleEndian(rest[20..]));
                if (!changes.Contains(change))
                    changes.Add(change);
                rest = rest[size..];
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Handle.Dispose();

    // fanotify_event_info_fid: kind, pad, length; file system id; file_handle (bytes, kind, ...); then the name.
    private static string NameIn(ReadOnlySpan<byte> info)
    {
        const int beforeHandle = 12;
        if (info.Length < beforeHandle + 8)
            return "";
        int name = beforeHandle + 8 + (int)BinaryPrimitives.ReadUInt32LittleEndian(info[beforeHandle..]);
        int end = name < info.Length ? info[name..].IndexOf((byte)0) : -1;
        return end <= 0 || (end == 1 && info[name] == '.') ? "" : FileName.FromBytes(info.Slice(name, end));
    }
}
