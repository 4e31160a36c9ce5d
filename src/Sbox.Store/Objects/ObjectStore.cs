using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>The directory <c>objects/</c>: reading what is there. Writing goes through a <see cref="Transaction"/>.</summary>
internal sealed class ObjectStore(Dir dir, RepositoryMode mode, ObjectStore? parent = null) : IDisposable
{
    /// <summary>libostree refuses larger metadata: a commit or dirtree of more is an attack.</summary>
    public const int MaximumMetadataSize = 10 * 1024 * 1024;

    public Dir Dir { get; } = dir;

    public RepositoryMode Mode { get; } = mode;

    public string PathOf(ObjectName name) => Dir.Of(name.LoosePath(Mode));

    public bool Has(ObjectName name) => Dir.Exists(name.LoosePath(Mode));

    public IEnumerable<ObjectName> Enumerate() => EnumerateBeginning("");

    /// <summary>The commits; all else is passed over before a string is made of it.</summary>
    public IEnumerable<ObjectName> EnumerateCommits() => EnumerateBeginning("", ".commit");

    /// <summary>The objects whose checksums begin with these hexadecimal digits, and whose names end so.</summary>
    public IEnumerable<ObjectName> EnumerateBeginning(string digits, string ending = "")
    {
        foreach (DirEntry directory in Dir.Entries())
        {
            string common = digits[..Math.Min(2, digits.Length)];
            if (directory.Name.Length != 2 || !directory.Name.StartsWith(common, StringComparison.Ordinal) || Dir.TryOpenDir(directory.Name) is not { } inner)
                continue;
            using (inner)
            {
                foreach (DirEntry entry in inner.EntriesEnding(ending))
                {
                    if (ObjectName.TryParse(directory.Name, entry.Name, Mode, out ObjectName name) &&
                        (digits.Length <= 2 || entry.Name.StartsWith(digits[2..], StringComparison.Ordinal)))
                        yield return name;
                }
            }
        }
    }

    /// <summary>Whether it is here, or in a parent.</summary>
    public bool HasAnywhere(ObjectName name) => Has(name) || parent?.HasAnywhere(name) == true;

    public byte[] ReadMetadata(ObjectName name)
    {
        string path = name.LoosePath(Mode);
        using SafeFileHandle? file = Dir.TryOpenFile(path);
        if (file is null)
            return parent?.ReadMetadata(name) ?? throw new ObjectMissingException(Dir.Path, name);
        return Linux.Files.ReadAtMost(file, Dir.Of(path), MaximumMetadataSize)
            ?? throw new ObjectCorruptException(PathOf(name), name, null, $"larger than {MaximumMetadataSize} bytes");
    }

    public delegate T Parser<T>(ReadOnlySpan<byte> bytes);

    public T Load<T>(ObjectName name, Parser<T> parse)
    {
        byte[] bytes = ReadMetadata(name);
        try
        {
            return parse(bytes);
        }
        catch (MalformedException malformed)
        {
            throw new ObjectCorruptException(PathOf(name), name, null, malformed.Message, malformed);
        }
    }

    public FileObject LoadFile(Checksum checksum)
    {
        var name = new ObjectName(checksum, ObjectType.File);
        if (parent is not null && !Has(name))
            return parent.LoadFile(checksum);
        return LoadFile(name, Dir, name.LoosePath(Mode));
    }

    /// <summary>As <see cref="LoadFile(Checksum)"/>, of a second name that an object of this directory has in another one. Errors name the first.</summary>
    public FileObject LoadFile(ObjectName name, Dir dir, string path) => OnFile(name, dir, path, file => Mode switch
    {
        RepositoryMode.Archive => ArchiveFile.Load(dir, name.Checksum, file!, path),
        RepositoryMode.BareUser => BareUserFile.Load(dir, name.Checksum, file!, path),
        RepositoryMode.BareUserOnly => BareUserFile.LoadOnly(dir, name.Checksum, file, path),
        RepositoryMode.BareSplitXattrs => BareFile.LoadSplit(dir, name.Checksum, file, path),
        _ => BareFile.Load(dir, name.Checksum, file, path),
    }, onlyItsHeader: Mode is RepositoryMode.Bare or RepositoryMode.BareSplitXattrs);

    /// <summary>What a bare object's bytes hash to, whatever its name says.</summary>
    public Checksum HashBare(ObjectName name, FileHasher hasher)
    {
        string path = name.LoosePath(Mode);
        return OnFile(name, Dir, path, file => BareFile.Hash(Dir, file, path, hasher));
    }

    // A header in mode bare is what stat says and the xattrs: whoever may not read the file may list it all the same.
    private T OnFile<T>(ObjectName name, Dir dir, string path, Func<SafeFileHandle?, T> use, bool onlyItsHeader = false)
    {
        using SafeFileHandle? file = dir.TryOpenFile(path, out Errno errno);
        if (errno == Errno.ENOENT)
            throw new ObjectMissingException(Dir.Path, name);
        // A symbolic link cannot be opened; where links are kept as links it is an object like any other.
        if (file is null && !(errno == Errno.ELOOP && Mode.KeepsLinks()) && !(errno == Errno.EACCES && onlyItsHeader))
            throw new LinuxException(errno, "openat", PathOf(name));
        try
        {
            return use(file);
        }
        catch (MalformedException malformed)
        {
            throw new ObjectCorruptException(PathOf(name), name, null, malformed.Message, malformed);
        }
    }

    public void Dispose() => Dir.Dispose();
}
