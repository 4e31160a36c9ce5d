using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>The part that reads archives: one thread, since an archive is read front to back.</summary>
internal sealed partial class TreeWriter
{
    private void AddArchive(TreeSource.Archive archive, DirNode top)
    {
        var names = new Dictionary<string, FileNode>();
        var links = new List<(ArchiveEntry Entry, string Path)>();
        bool hasRoot = top.Meta != default;
        foreach (ArchiveEntry entry in ArchiveTree.Read(archive.Content, archive.Name))
        {
            cancel.ThrowIfCancellationRequested();
            string path = Renamed(archive, entry.Path);
            FileStat stat = StatOf(entry.Mode) with { Uid = entry.Uid, Gid = entry.Gid, Size = entry.Size };
            if (IsLeftOut(path, stat))
                continue;
            if (entry.IsHardlink)
            {
                links.Add((entry, path));
                continue;
            }

            if (entry.Mode.IsDirectory)
            {
                DirNode directory = path == "/" ? top : Parent(archive, top, path).Directory(LastOf(path), path);
                directory.Meta = WriteMeta(DirMetaOf(entry, stat, path));
                hasRoot |= path == "/";
                continue;
            }

            if (path == "/")
                throw new CannotCommitException(archive.Name, "its root is no directory");
            Report(entry.Size);
            var node = new FileNode { Content = WriteEntry(entry, stat, path) };
            names[path] = node;
            Parent(archive, top, path).Add(LastOf(path), node, path);
        }

        foreach ((ArchiveEntry link, string path) in links)
        {
            string target = Renamed(archive, link.Target!);
            FileNode node = names.TryGetValue(target, out FileNode? found) ? found : throw new CannotCommitException($"{archive.Name}:{path}", $"a hardlink to {target}, which is not there");
            names[path] = node;
            Parent(archive, top, path).Add(LastOf(path), node, path);
        }

        if (!hasRoot && top.Meta == default)
            top.Meta = archive.MakesParents ? Made("/") : throw new CannotCommitException(archive.Name, "it has no entry for its root directory; --tar-autocreate-parents makes one");
    }

    private Checksum WriteEntry(ArchiveEntry entry, FileStat stat, string path)
    {
        (uint uid, uint gid, Mode mode) = Permissions(stat, path);
        var header = new FileHeader(uid, gid, mode, entry.Target, TakesXattrs ? XattrList.From(entry.Xattrs) : XattrList.Empty);
        return transaction.UseWriter(writer => writer.Write(header, entry.Content, expected: null, entry.Size, path));
    }

    private DirMeta DirMetaOf(ArchiveEntry entry, FileStat stat, string path)
    {
        (uint uid, uint gid, Mode mode) = Permissions(stat, path);
        return new DirMeta(uid, gid, mode, TakesXattrs ? XattrList.From(entry.Xattrs) : XattrList.Empty);
    }

    private DirNode Parent(TreeSource.Archive archive, DirNode top, string path)
    {
        DirNode at = top;
        string walked = "";
        foreach (string part in path.Split('/', StringSplitOptions.RemoveEmptyEntries)[..^1])
        {
            walked += "/" + part;
            if (!at.Directories.ContainsKey(part) && !archive.MakesParents)
                throw new CannotCommitException($"{archive.Name}:{path}", $"No such file or directory: {walked}; --tar-autocreate-parents makes it");
            at = at.Directory(part, walked);
            if (at.Meta == default)
                at.Meta = Made(walked);
        }

        return at;
    }

    private Checksum Made(string path)
    {
        (uint uid, uint gid, Mode mode) = Permissions(StatOf(new Mode(0x41ED /* directory, 0755 */)), path);
        return WriteMeta(new DirMeta(uid, gid, mode, XattrList.Empty));
    }

    // Left out itself, or below something that is.
    private bool IsLeftOut(string path, FileStat stat)
    {
        if (options.Filter is null)
            return false;
        for (int slash = path.IndexOf('/', 1); slash > 0; slash = path.IndexOf('/', slash + 1))
        {
            if (!options.Filter(path[..slash], StatOf(new Mode(0x41ED))))
                return true;
        }

        return !options.Filter(path, stat);
    }

    private static string Renamed(TreeSource.Archive archive, string path) => archive.Rename is null || path == "/"
        ? path
        : "/" + string.Join('/', archive.Rename(path[1..]).Split('/').Where(static part => part is not ("" or "." or "..")));

    private static string LastOf(string path) => path[(path.LastIndexOf('/') + 1)..];
}
