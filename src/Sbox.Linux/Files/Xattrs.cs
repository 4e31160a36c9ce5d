using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>One extended attribute.</summary>
/// <param name="Name">Its name with the namespace, without a NUL: <c>user.x</c>.</param>
/// <param name="Value">Its bytes.</param>
public readonly record struct Xattr(string Name, byte[] Value);

/// <summary>Extended attributes of open files, and of names that cannot be opened (symbolic links, devices).</summary>
public static unsafe class Xattrs
{
    // Enough for most lists and values: then one call does, and none asks how much there is.
    private const int Short = 256;

    /// <summary>All of a file's attributes, in the order of their names' bytes; none where the file system has none.</summary>
    /// <param name="file">Open in whatever way.</param>
    /// <param name="path">What it is, for the error.</param>
    /// <param name="but">The beginning of names that are passed over, and whose values are not asked for; null for none.</param>
    /// <exception cref="LinuxException">Refused.</exception>
    public static IReadOnlyList<Xattr> Read(SafeFileHandle file, string path, string? but = null)
    {
        using var fd = new Borrowed(file);
        int number = fd.Number;
        byte* names = stackalloc byte[Short];
        nint filled = LibC.flistxattr(number, names, Short);
        return filled == 0 || (filled > 0 && but is not null && HasOnly(new ReadOnlySpan<byte>(names, (int)filled), but))
            ? [] // most files have none, and this is asked of each
            : ReadAll((list, size) => LibC.flistxattr(number, (byte*)list, size), (name, value, size) => LibC.fgetxattr(number, (byte*)name, (byte*)value, size), path, but);
    }

    private static bool HasOnly(ReadOnlySpan<byte> names, string beginning)
    {
        for (; !names.IsEmpty; names = names[(names.IndexOf((byte)0) + 1)..])
        {
            if (!System.Text.Ascii.Equals(names[..Math.Min(beginning.Length, names.Length)], beginning))
                return false;
        }

        return true;
    }

    /// <summary>One attribute of an open file; null where it has none by that name.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static byte[]? TryRead(SafeFileHandle file, string attribute, string path)
    {
        using var fd = new Borrowed(file);
        fixed (byte* name = CString.Of(attribute))
        {
            nint key = (nint)name;
            int number = fd.Number;
            try
            {
                return Fill((value, size) => LibC.fgetxattr(number, (byte*)key, (byte*)value, size), "fgetxattr", $"{path}: {attribute}") is { Length: > 0 } found
                    ? found
                    : null;
            }
            catch (LinuxException none) when (none.Errno == Errno.ENODATA)
            {
                return null;
            }
        }
    }

    /// <summary>All attributes of a name in a directory, of a symbolic link itself too.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static IReadOnlyList<Xattr> Read(Dir dir, string name)
    {
        using var fd = new Borrowed(dir.Handle);
        fixed (byte* path = CString.Of(Through(fd.Number, name)))
        {
            nint at = (nint)path;
            return ReadAll(
                (list, size) => LibC.llistxattr((byte*)at, (byte*)list, size),
                (attribute, value, size) => LibC.lgetxattr((byte*)at, (byte*)attribute, (byte*)value, size), dir.Of(name));
        }
    }

    /// <summary>Sets one attribute of an open file.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void Set(SafeFileHandle file, Xattr attribute, string path)
    {
        using var fd = new Borrowed(file);
        fixed (byte* name = CString.Of(attribute.Name), value = attribute.Value)
            Answer.Check(LibC.fsetxattr(fd.Number, name, value, attribute.Value.Length, 0), "fsetxattr", $"{path}: {attribute.Name}");
    }

    /// <summary>Sets one attribute of a name in a directory, of a symbolic link itself too.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void Set(Dir dir, string name, Xattr attribute)
    {
        using var fd = new Borrowed(dir.Handle);
        fixed (byte* path = CString.Of(Through(fd.Number, name)), key = CString.Of(attribute.Name), value = attribute.Value)
            Answer.Check(LibC.lsetxattr(path, key, value, attribute.Value.Length, 0), "lsetxattr", $"{dir.Of(name)}: {attribute.Name}");
    }

    /// <summary>Removes one attribute of a name in a directory; one that is not there is gone already.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void Remove(Dir dir, string name, string attribute)
    {
        using var fd = new Borrowed(dir.Handle);
        fixed (byte* path = CString.Of(Through(fd.Number, name)), key = CString.Of(attribute))
        {
            Errno errno = Answer.Of(LibC.lremovexattr(path, key));
            if (errno is not (Errno.None or Errno.ENODATA))
                throw new LinuxException(errno, "lremovexattr", $"{dir.Of(name)}: {attribute}");
        }
    }

    // Kernels before 6.13 have no *xattrat(2): through /proc the directory handle still comes first.
    private static string Through(int dir, string name) => $"/proc/self/fd/{dir}/{name}";

    private delegate nint List(nint list, nint size);

    private delegate nint Get(nint name, nint value, nint size);

    private static IReadOnlyList<Xattr> ReadAll(List list, Get get, string path, string? but = null)
    {
        byte[] names = Fill((into, size) => list(into, size), "listxattr", path);
        if (names.Length == 0)
            return [];
        var attributes = new List<Xattr>();
        for (int start = 0; start < names.Length;)
        {
            int end = Array.IndexOf(names, (byte)0, start);
            byte[] name = names[start..(end + 1)];
            start = end + 1;
            string text = FileName.FromBytes(name.AsSpan(0, name.Length - 1)); // names are bytes: nothing says UTF-8
            if (but is not null && text.StartsWith(but, StringComparison.Ordinal))
                continue;
            fixed (byte* key = name)
            {
                nint at = (nint)key;
                attributes.Add(new Xattr(text, Fill((into, size) => get(at, into, size), "getxattr", $"{path}: {text}")));
            }
        }

        attributes.Sort(static (a, b) => Dir.CompareNames(a.Name, b.Name));
        return attributes;
    }

    private static byte[] Fill(Func<nint, nint, nint> call, string name, string path)
    {
        byte* few = stackalloc byte[Short];
        nint had = call((nint)few, Short);
        if (had >= 0)
            return new ReadOnlySpan<byte>(few, (int)had).ToArray();
        while (true)
        {
            nint needed = call(0, 0);
            Errno errno = Answer.Of(needed);
            if (errno == Errno.EOPNOTSUPP)
                return [];
            if (errno != Errno.None)
                throw new LinuxException(errno, name, path);
            if (needed == 0)
                return [];
            var buffer = new byte[needed];
            fixed (byte* into = buffer)
            {
                nint filled = call((nint)into, buffer.Length);
                errno = Answer.Of(filled);
                if (errno == Errno.ERANGE)
                    continue; // it grew between the two calls
                if (errno != Errno.None)
                    throw new LinuxException(errno, name, path);
                return buffer[..(int)filled];
            }
        }
    }
}
