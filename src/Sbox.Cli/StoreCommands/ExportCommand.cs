using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary><c>export</c>: a commit's tree as a tar archive.</summary>
internal static class ExportCommand
{
    public static Command Make()
    {
        Argument<string> revision = RepositoryCommand.Revision("COMMIT");
        var noXattrs = new Option<bool>("--no-xattrs") { Description = "Leave extended attributes out" };
        var subpath = new Option<string>("--subpath") { Description = "Only this part of the tree", HelpName = "PATH", DefaultValueFactory = static _ => "/" };
        var prefix = new Option<string>("--prefix") { Description = "Put this before every path", HelpName = "PATH", DefaultValueFactory = static _ => "" };
        var output = new Option<string?>("--output", "-o") { Description = "Write to this file; to standard output where none is given", HelpName = "PATH" };
        return new DocumentedCommand("export", "Write a commit's tree as a tar archive").With(revision, noXattrs, subpath, prefix, output).OnRepository((parsed, repository, cancel) =>
        {
            Checksum commit = repository.Resolve(parsed.GetValue(revision)!);
            TreeEntry from = repository.Find(commit, parsed.GetValue(subpath)!);
            string? file = parsed.GetValue(output);
            if (file is null && parsed.AsJson())
                throw new Finding("An archive is not written between JSON objects", "--output=PATH");
            if (file is null && !Console.IsOutputRedirected)
                throw new Finding("An archive is not written to a terminal", "--output=PATH, or redirect it");
            using Stream stream = file is null ? Console.OpenStandardOutput() : new FileStream(file, FileMode.Create, FileAccess.Write);
            using var buffered = new BufferedStream(stream, 256 * 1024);
            var export = new Export(repository, new TarWriter(buffered), from.Path, parsed.GetValue(prefix)!.Trim('/'), !parsed.GetValue(noXattrs), (long)repository.LoadCommit(commit).Timestamp, cancel);
            export.Add(from);
            export.Finish();
            return 0;
        });
    }

    private sealed class Export(Repository repository, TarWriter tar, string root, string prefix, bool withXattrs, long time, CancellationToken cancel)
    {
        private readonly Dictionary<Checksum, byte[]> written = [];

        public void Add(TreeEntry entry)
        {
            cancel.ThrowIfCancellationRequested();
            repository.RequireNameable(entry);
            byte[] path = FileName.ToBytes(PathOf(entry));
            if (entry is { Tree: not null, Meta: { } name })
            {
                DirMeta meta = repository.LoadDirMeta(name);
                tar.Write(new TarEntry(path, TarKind.Directory, meta.Mode.Permissions, meta.Uid, meta.Gid, 0, time, null, Attributes(meta.Xattrs)), null);
                foreach (TreeEntry child in repository.Children(entry))
                    Add(child);
                return;
            }

            FileObject file = repository.LoadFile(entry.Content!.Value);
            // Files of one content are one file with several names, as they are in the repository.
            if (file.Size > 0 && !written.TryAdd(file.Checksum, path))
            {
                tar.Write(new TarEntry(path, TarKind.Hardlink, file.Mode.Permissions, file.Uid, file.Gid, 0, time, written[file.Checksum], []), null);
                return;
            }

            byte[]? target = file.SymlinkTarget is { } link ? FileName.ToBytes(link) : null;
            using Stream content = file.OpenContent();
            tar.Write(
                new TarEntry(path, target is null ? TarKind.File : TarKind.Symlink, file.Mode.Permissions, file.Uid, file.Gid, file.Size, time, target, Attributes(file.Xattrs)),
                content);
        }

        public void Finish() => tar.Finish();

        private string PathOf(TreeEntry entry)
        {
            string below = entry.Path.Length > root.Length ? entry.Path[root.Length..].Trim('/') : entry.IsDirectory ? "" : entry.Path[(entry.Path.LastIndexOf('/') + 1)..];
            string path = prefix.Length == 0 ? below : below.Length == 0 ? prefix : $"{prefix}/{below}";
            return path.Length == 0 ? "." : path;
        }

        private IReadOnlyList<(byte[], byte[])> Attributes(XattrList xattrs) =>
            withXattrs ? [.. xattrs.Select(static xattr => (FileName.ToBytes(xattr.Name), xattr.Value))] : [];
    }
}
