using System.Text;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>What a plan needs to know of a commit's tree, read from the repository before anything is checked out.</summary>
internal sealed class CommitTree(Repository repository, Checksum checksum)
{
    private const long UkiOverhead = 1 << 20; // section headers, os-release, command line, and FAT's clusters

    public Commit Commit { get; } = repository.LoadCommit(checksum);

    /// <summary>The kernel arguments that the recipe asks for.</summary>
    public KernelArguments RecipeArguments => Commit.Metadata["sbox.kargs"] switch
    {
        { Type.Kind: 's' } line => KernelArguments.Parse(line.Text),
        { Type.Signature: "as" } list => KernelArguments.Of(list.Items.Select(static item => new KernelArgument(item.Text))),
        _ => KernelArguments.Empty,
    };

    /// <summary>The bytes of a file of the defaults of /etc; null where there is no such file.</summary>
    public byte[]? EtcContent(string path)
    {
        TreeEntry? entry = repository.TryFind(checksum, $"/usr/etc/{path}") ?? repository.TryFind(checksum, $"/etc/{path}");
        return entry?.Content is { } content && repository.LoadFile(content) is { SymlinkTarget: null } file ? Bytes(file) : null;
    }

    /// <summary>The defaults of /etc; an empty directory where the tree has none.</summary>
    public EtcNode Etc()
    {
        TreeEntry? etc = repository.TryFind(checksum, "/usr/etc") ?? repository.TryFind(checksum, "/etc");
        return etc is { IsDirectory: true } ? Node(etc) : new EtcNode(new EtcEntry(FileKind.Directory, 0x1ED, 0, 0, default), EtcNode.NoChildren);
    }

    /// <summary>Bytes that the deployment's UKI and, where they are new, the boot loader take on an ESP; at most, rounded up.</summary>
    /// <exception cref="NoKernelException">The tree has no kernel.</exception>
    /// <exception cref="NoBootLoaderException">The tree has no EFI stub.</exception>
    public long EspBytes()
    {
        string machine = UnifiedKernel.Machine(path => repository.TryFind(checksum, path) is not null, $"commit {checksum}");
        string kernel = repository.TryFind(checksum, "/usr/lib/modules") is { IsDirectory: true } modules
            ? repository.Children(modules).Select(static child => child.Path).Where(path => repository.TryFind(checksum, $"{path}/vmlinuz") is not null)
                .Order(VersionOrder.Comparer).LastOrDefault() ?? throw new NoKernelException($"commit {checksum}")
            : throw new NoKernelException($"commit {checksum}");
        return Size($"{kernel}/vmlinuz") + Size($"{kernel}/initramfs.img") + Size(UnifiedKernel.StubPath(machine))
            + (2 * Size(UnifiedKernel.BootLoaderPath(machine))) + UkiOverhead;
    }

    /// <summary>What in /usr has a number that is somebody else's here; /usr is read-only, so nobody can give it to another.</summary>
    /// <returns>Paths with the number that they have.</returns>
    public IReadOnlyList<(string Path, ForeignId Id)> OwnedByOthers(IReadOnlyList<ForeignId> foreign)
    {
        var found = new List<(string, ForeignId)>();
        if (foreign.Count > 0 && repository.TryFind(checksum, "/usr") is { IsDirectory: true } usr)
            Walk(usr);
        return found;

        void Walk(TreeEntry entry)
        {
            (uint uid, uint gid) = entry.IsDirectory ? OfDirectory(repository.LoadDirMeta(entry.Meta!.Value)) : OfFile(repository.LoadFile(entry.Content!.Value));
            found.AddRange(foreign.Where(each => each.Id == (each.IsGroup ? gid : uid)).Select(each => (entry.Path, each)));
            // The defaults of /etc are copied, and given to whom they are meant for.
            foreach (TreeEntry child in entry.IsDirectory && entry.Path != "/usr/etc" ? repository.Children(entry) : [])
                Walk(child);
        }

        static (uint, uint) OfDirectory(DirMeta meta) => (meta.Uid, meta.Gid);

        static (uint, uint) OfFile(FileObject file) => (file.Uid, file.Gid);
    }

    private long Size(string path) => repository.TryFind(checksum, path)?.Content is { } content ? repository.LoadFile(content).Size : 0;

    private EtcNode Node(TreeEntry entry)
    {
        if (entry.IsDirectory)
        {
            DirMeta meta = repository.LoadDirMeta(entry.Meta!.Value);
            return new EtcNode(
                new EtcEntry(FileKind.Directory, meta.Mode.Permissions, meta.Uid, meta.Gid, default),
                repository.Children(entry).ToDictionary(static child => child.Path[(child.Path.LastIndexOf('/') + 1)..], Node));
        }

        FileObject file = repository.LoadFile(entry.Content!.Value);
        if (file.SymlinkTarget is { } target)
            return new EtcNode(new EtcEntry(FileKind.Symlink, 0, file.Uid, file.Gid, Checksum.Of(FileName.ToBytes(target))), EtcNode.NoChildren);
        using Stream content = file.OpenContent();
        return new EtcNode(new EtcEntry(FileKind.Regular, file.Mode.Permissions, file.Uid, file.Gid, ContentHash.Of(content)), EtcNode.NoChildren);
    }

    private static byte[] Bytes(FileObject file)
    {
        using Stream content = file.OpenContent();
        using var bytes = new MemoryStream();
        content.CopyTo(bytes);
        return bytes.ToArray();
    }
}
