using System.Buffers;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Writes single files out: a hardlink to the object where that is possible and asked for, else a copy. Several threads at once.</summary>
internal sealed class FileCheckout(Repository repository, CheckoutOptions options)
{
    private const uint SetIds = 0xC00; // setuid and setgid
    private const uint UserRead = 0x100;

    // Files of bare repositories are what root sees; those of the user's modes are what the user shall see.
    private readonly bool linkable = !options.ForceCopy && (options.UserMode
        ? repository.Mode is RepositoryMode.BareUser or RepositoryMode.BareUserOnly
        : repository.Mode == RepositoryMode.Bare);

    private readonly FileCheckout? parent = repository.Parent is { } above ? new FileCheckout(above, options) : null;

    private long bytesCopied;

    /// <summary>Bytes copied so far.</summary>
    public long BytesCopied => Interlocked.Read(ref bytesCopied) + (parent?.BytesCopied ?? 0);

    /// <param name="content">The object.</param>
    /// <param name="dir">Where.</param>
    /// <param name="name">Its name there.</param>
    /// <param name="own">What the directory is like where nobody else looks into it yet, so that a file may be there before it is whole; else null.</param>
    public void Write(Checksum content, Dir dir, string name, NewDirectory? own)
    {
        if (parent is not null && !repository.Objects.Has(new ObjectName(content, ObjectType.File)))
        {
            parent.Write(content, dir, name, own);
            return;
        }

        if (!linkable)
        {
            if (own is not null && repository.Mode == RepositoryMode.Bare)
                CopyBare(content, dir, name, own);
            else
                Write(repository.LoadFile(content), dir, name, own);
            return;
        }

        // One call tells whether there is an object, and whether it is empty: empty files are never shared, since there are so many
        // of them that the file system's limit of links would be met.
        string path = new ObjectName(content, ObjectType.File).LoosePath(RepositoryMode.Bare);
        FileStat stat = repository.Objects.Dir.TryStat(path) ??
            throw new ObjectMissingException(repository.Path, new ObjectName(content, ObjectType.File));
        if ((stat.IsRegular && stat.Size == 0) || NeedsCopy(content, stat) || !TryLink(path, stat, dir, name))
            Write(repository.LoadFile(content), dir, name, own);
    }

    // A link is kept as a regular file in bare-user, which is not what it stands for; and what its owner may not read is copied, and made
    // readable, for a user.
    private bool NeedsCopy(Checksum content, FileStat stat)
    {
        if (!options.UserMode || stat.IsSymlink)
            return false;
        Mode mode = repository.Mode == RepositoryMode.BareUser ? repository.LoadFile(content).Mode : new Mode(stat.Mode);
        return mode.IsSymlink || (mode.Permissions & UserRead) == 0;
    }

    /// <summary>Makes what overlayfs takes for a deleted name, with the owner and mode of the file that stands for it.</summary>
    public void WriteWhiteout(Checksum content, Dir dir, string name)
    {
        const uint characterDevice = 0x2000;
        FileObject file = repository.LoadFile(content);
        if (options.Overwrite != CheckoutOverwrite.None && dir.TryStat(name) is { } there)
        {
            if (options.Overwrite == CheckoutOverwrite.AddFiles || (there.Kind == FileKind.CharacterDevice && there.RawDevice == 0))
                return;
            if (options.Overwrite == CheckoutOverwrite.UnionFiles)
                dir.Unlink(name);
        }

        dir.MakeNode(name, characterDevice | file.Mode.Permissions, device: 0);
        if (options.UserMode)
            return;
        dir.ChangeOwner(name, file.Uid, file.Gid);
        foreach (Xattr xattr in file.Xattrs)
            Xattrs.Set(dir, name, xattr);
        dir.ChangeMode(name, file.Mode.Permissions);
    }

    public void Write(FileObject file, Dir dir, string name, NewDirectory? own)
    {
        if (file.Mode.IsSymlink)
            CopySymlink(file, dir, name, own);
        else if (!TryLinkCached(file, dir, name))
            Copy(file, dir, name, own is not null);
    }

    private bool TryLinkCached(FileObject file, Dir dir, string name)
    {
        if (!options.CacheUncompressed || !options.UserMode || options.ForceCopy || file.Size == 0 || repository.Mode != RepositoryMode.Archive)
            return false;
        string path = $"uncompressed-objects-cache/{new ObjectName(file.Checksum, ObjectType.File).LoosePath(RepositoryMode.Bare)}";
        if (repository.Dir.TryStat(path) is null)
        {
            repository.Dir.MakeDirs(Path.GetDirectoryName(path)!, Repository.InnerDirectoryMode);
            using SafeFileHandle kept = repository.Dir.CreateUnnamed(0x180 /* 0600 */);
            using (Stream content = file.OpenContent())
            using (var output = new HandleStream(kept, static _ => { }))
            {
                content.CopyTo(output);
                output.Flush();
            }

            Linux.Files.ChangeMode(kept, PermissionsOf(file.Mode.Permissions), path);
            Linux.Files.SetModified(kept, 0, 0, path);
            repository.Dir.TryLink(kept, path);
            Interlocked.Add(ref bytesCopied, file.Size);
        }

        return repository.Dir.LinkInto(path, dir, name) == Errno.None;
    }

    // The whole of it from one open object: most of a checkout by copy is this, eight calls of the kernel a file.
    private void CopyBare(Checksum content, Dir dir, string name, NewDirectory own)
    {
        string path = new ObjectName(content, ObjectType.File).LoosePath(RepositoryMode.Bare);
        using SafeFileHandle? from = repository.Objects.Dir.TryOpenFile(path, out Errno errno);
        if (from is null && errno == Errno.ELOOP)
        {
            CopySymlink(BareFile.Load(repository.Objects.Dir, content, null, path), dir, name, own);
            return;
        }

        if (from is null)
            throw errno == Errno.ENOENT
                ? new ObjectMissingException(repository.Path, new ObjectName(content, ObjectType.File))
                : new LinuxException(errno, "openat", repository.Objects.Dir.Of(path));
        string source = repository.Objects.Dir.Of(path);
        FileStat stat = Linux.Files.Stat(from, source);
        if (!stat.IsRegular)
        {
            Write(repository.LoadFile(content), dir, name, own); // which says what is wrong with it
            return;
        }

        string target = dir.Of(name);
        uint permissions = PermissionsOf(stat.Permissions);
        IReadOnlyList<Xattr> xattrs = options.UserMode ? [] : Xattrs.Read(from, source);
        // Xattrs need write permission, which the file may be without in the end.
        uint asked = xattrs.Count > 0 ? 0x180 /* 0600 */ : permissions & ~SetIds;
        using SafeFileHandle copy = dir.CreateFile(name, asked);
        Linux.Files.Copy(from, copy, stat.Size, target);
        Interlocked.Add(ref bytesCopied, stat.Size);
        // What it got by being made here is asked for: that costs less than setting what is so already.
        FileStat made = own.Made(asked, copy, target);
        bool ownerChanges = !options.UserMode && (made.Uid != stat.Uid || made.Gid != stat.Gid);
        if (ownerChanges)
            Linux.Files.ChangeOwner(copy, stat.Uid, stat.Gid, target);
        foreach (Xattr xattr in xattrs)
            Xattrs.Set(copy, xattr, target);
        if (ownerChanges || made.Permissions != permissions)
            Linux.Files.ChangeMode(copy, permissions, target);
    }

    // A user must be able to read and commit again what was checked out for them.
    private uint PermissionsOf(uint permissions) => options.UserMode ? (permissions & ~SetIds) | UserRead : permissions;

    private bool TryLink(string path, FileStat stat, Dir dir, string name)
    {
        Dir objects = repository.Objects.Dir;
        switch (objects.LinkInto(path, dir, name))
        {
            case Errno.None:
                return true;
            case Errno.EEXIST:
                return LinkOver(path, stat, dir, name);
            case var errno and (Errno.EMLINK or Errno.EXDEV or Errno.EPERM):
                return options.RequireHardlinks && errno != Errno.EMLINK
                    ? throw new LinuxException(errno, "linkat", dir.Of(name))
                    : false;
            case var errno:
                throw new LinuxException(errno, "linkat", dir.Of(name));
        }
    }

    private bool LinkOver(string path, FileStat stat, Dir dir, string name)
    {
        FileStat there = dir.Stat(name);
        bool same = there.Inode == stat.Inode && there.Device == stat.Device;
        switch (options.Overwrite)
        {
            case CheckoutOverwrite.AddFiles:
                return true;
            case CheckoutOverwrite.UnionIdentical when same:
                return true;
            case CheckoutOverwrite.UnionIdentical:
                return false; // the copy compares contents
            case CheckoutOverwrite.UnionFiles when same:
                return true;
            case CheckoutOverwrite.UnionFiles:
                string temporary = Temporary();
                if (repository.Objects.Dir.LinkInto(path, dir, temporary) != Errno.None)
                    return false;
                dir.Rename(temporary, dir, name);
                return true;
            default:
                throw new LinuxException(Errno.EEXIST, "linkat", dir.Of(name));
        }
    }

    private void CopySymlink(FileObject file, Dir dir, string name, NewDirectory? own)
    {
        if (own is null && KeepsWhatIsThere(file, dir, name))
            return;
        string temporary = own is null ? Temporary() : name;
        dir.Symlink(file.SymlinkTarget!, temporary);
        if (!options.UserMode)
        {
            dir.ChangeOwner(temporary, file.Uid, file.Gid);
            foreach (Xattr xattr in file.Xattrs)
                Xattrs.Set(dir, temporary, xattr);
        }

        if (own is null)
            Place(dir, temporary, name);
    }

    private void Copy(FileObject file, Dir dir, string name, bool isPrivate)
    {
        if (KeepsWhatIsThere(file, dir, name))
            return;
        using SafeFileHandle copy = isPrivate ? dir.CreateFile(name, 0x180 /* 0600 */) : dir.CreateUnnamed(0x180 /* 0600 */);
        CopyContent(file, copy, dir.Of(name));
        if (!options.UserMode)
        {
            Linux.Files.ChangeOwner(copy, file.Uid, file.Gid, dir.Of(name));
            foreach (Xattr xattr in file.Xattrs)
                Xattrs.Set(copy, xattr, dir.Of(name));
        }

        Linux.Files.ChangeMode(copy, PermissionsOf(file.Mode.Permissions), dir.Of(name));
        if (isPrivate || dir.TryLink(copy, name))
            return;
        if (options.Overwrite != CheckoutOverwrite.UnionFiles)
            throw new LinuxException(Errno.EEXIST, "linkat", dir.Of(name));
        string temporary = Temporary();
        dir.TryLink(copy, temporary);
        dir.Rename(temporary, dir, name);
    }

    private void CopyContent(FileObject file, SafeFileHandle copy, string path)
    {
        if (repository.Mode != RepositoryMode.Archive)
        {
            using SafeFileHandle content = repository.Objects.Dir.OpenFile(file.LoosePath);
            Interlocked.Add(ref bytesCopied, Linux.Files.Copy(content, copy, path));
            return;
        }

        byte[] buffer = ArrayPool<byte>.Shared.Rent(256 * 1024);
        using Stream stream = file.OpenContent();
        long at = 0;
        try
        {
            for (int read; (read = stream.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false)) > 0; at += read)
                RandomAccess.Write(copy, buffer.AsSpan(0, read), at);
        }
        catch (InvalidDataException broken)
        {
            throw new ObjectCorruptException(
                repository.Objects.Dir.Of(file.LoosePath), new ObjectName(file.Checksum, ObjectType.File), null, broken.Message, broken);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }

        if (at != file.Size)
            throw new ObjectCorruptException(
                repository.Objects.Dir.Of(file.LoosePath), new ObjectName(file.Checksum, ObjectType.File), null,
                $"its header says {file.Size} bytes, its content has {at}");
        Interlocked.Add(ref bytesCopied, at);
    }

    private bool KeepsWhatIsThere(FileObject file, Dir dir, string name)
    {
        if (options.Overwrite is CheckoutOverwrite.None or CheckoutOverwrite.UnionFiles || !dir.Exists(name))
            return false;
        if (options.Overwrite == CheckoutOverwrite.AddFiles)
            return true;
        return FileChecksum.Of(dir, name) == file.Checksum ? true : throw new LinuxException(Errno.EEXIST, "linkat", dir.Of(name));
    }

    private void Place(Dir dir, string temporary, string name)
    {
        if (options.Overwrite == CheckoutOverwrite.UnionFiles)
        {
            dir.Rename(temporary, dir, name);
        }
        else if (!dir.TryRename(temporary, dir, name))
        {
            dir.Unlink(temporary);
            throw new LinuxException(Errno.EEXIST, "symlinkat", dir.Of(name));
        }
    }

    private static string Temporary() => $".checkout-{Guid.NewGuid():N}";
}

/// <summary>A directory that was made for a checkout and that nobody else looks into yet. Several threads at once may ask.</summary>
internal sealed class NewDirectory
{
    private readonly List<(uint Asked, FileStat Stat)> made = [];

    /// <summary>
    /// What a file is like that was just made here with these permissions: owner, group and what the umask or a default list of access leaves.
    /// Of one directory that is always the same, so the kernel is asked once; size and times are some other file's.
    /// </summary>
    public FileStat Made(uint asked, SafeFileHandle file, string path)
    {
        lock (made)
        {
            foreach ((uint before, FileStat stat) in made)
            {
                if (before == asked)
                    return stat;
            }

            FileStat now = Linux.Files.Stat(file, path);
            made.Add((asked, now));
            return now;
        }
    }
}
