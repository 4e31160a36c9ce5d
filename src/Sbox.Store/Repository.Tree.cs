using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Something in a commit's tree: a directory, or a file or symbolic link.</summary>
/// <param name="Path">Where, from the tree's root: <c>/usr/bin/sh</c>; <c>/</c> for the root itself.</param>
/// <param name="Tree">A directory's names; null for a file.</param>
/// <param name="Meta">A directory's owner and mode; null for a file.</param>
/// <param name="Content">A file's object; null for a directory.</param>
public sealed record TreeEntry(string Path, Checksum? Tree, Checksum? Meta, Checksum? Content)
{
    /// <summary>Whether it is a directory.</summary>
    public bool IsDirectory => Tree is not null;
}

public sealed partial class Repository
{
    /// <summary>Finds a path in a commit's tree; symbolic links are not followed.</summary>
    /// <exception cref="TreePathException">There is none, or a parent is no directory.</exception>
    public TreeEntry Find(Checksum commit, string path) => TryFind(commit, path) ?? throw new TreePathException(
        commit, path, path.TrimEnd('/').LastIndexOf('/') is > 0 and var slash && TryFind(commit, path[..slash]) is { IsDirectory: false } ? "Not a directory" : "No such file or directory");

    /// <summary>As <see cref="Find"/>; null where there is none.</summary>
    public TreeEntry? TryFind(Checksum commit, string path)
    {
        Commit root = LoadCommit(commit);
        var at = new TreeEntry("/", root.RootTree, root.RootMeta, null);
        foreach (string part in path.Split('/', StringSplitOptions.RemoveEmptyEntries).Where(static part => part != "."))
        {
            if (!at.IsDirectory || Children(at).FirstOrDefault(child => LastPart(child.Path) == part) is not { } child)
                return null;
            at = child;
        }

        return at;
    }

    /// <summary>The file at a path, and where that is a symbolic link the file it leads to.</summary>
    /// <exception cref="TreePathException">There is none, it is a directory, or links lead in a circle.</exception>
    public FileObject Follow(Checksum commit, string path)
    {
        const int maximumLinks = 40;
        for (int links = 0; links < maximumLinks; links++)
        {
            if (Find(commit, path).Content is not { } content)
                throw new TreePathException(commit, path, "Can't open directory");
            FileObject file = LoadFile(content);
            if (file.SymlinkTarget is not { } target)
                return file;
            path = System.IO.Path.GetFullPath(System.IO.Path.Combine("/", System.IO.Path.GetDirectoryName("/" + path.TrimStart('/'))!, target));
        }

        throw new TreePathException(commit, path, $"more than {maximumLinks} symbolic links");
    }

    /// <summary>What is in a directory: files first, then directories, each by the bytes of their names, as <c>ostree ls</c> shows them.</summary>
    public IEnumerable<TreeEntry> Children(TreeEntry directory)
    {
        string prefix = directory.Path == "/" ? "/" : directory.Path + "/";
        DirTree tree = LoadDirTree(directory.Tree ?? throw new ArgumentException($"{directory.Path} is no directory", nameof(directory)));
        foreach (DirTreeFile file in tree.Files)
            yield return new TreeEntry(prefix + file.Name, null, null, file.Content);
        foreach (DirTreeDirectory inner in tree.Directories)
            yield return new TreeEntry(prefix + inner.Name, inner.Tree, inner.Meta, null);
    }

    /// <summary>To be asked by whoever walks a tree by calling itself: a commit made to exhaust it is refused here.</summary>
    /// <exception cref="TooDeepException">The entry's path is longer than the kernel takes one.</exception>
    public void RequireNameable(TreeEntry entry) => TreeDepth.Check(entry.Path, Path);

    /// <summary>A commit and those before it, newest first, as far as they are there.</summary>
    public IEnumerable<(Checksum Checksum, Commit Commit)> Log(Checksum from)
    {
        for (Checksum? at = from; at is { } checksum && (checksum == from || Has(new ObjectName(checksum, ObjectType.Commit)));)
        {
            Commit commit = LoadCommit(checksum);
            yield return (checksum, commit);
            at = commit.Parent;
        }
    }

    private static ReadOnlySpan<char> LastPartOf(string path) => path.AsSpan(path.LastIndexOf('/') + 1);

    private static string LastPart(string path) => LastPartOf(path).ToString();
}
