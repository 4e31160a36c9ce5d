using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>Commands that look into a commit's tree: ls and cat.</summary>
internal static class TreeCommands
{
    public static Command Ls()
    {
        Argument<string> revision = RepositoryCommand.Revision("COMMIT");
        var paths = new Argument<string[]>("PATH") { Description = "Paths in the tree; / where none is given", Arity = ArgumentArity.ZeroOrMore };
        var dirOnly = new Option<bool>("--dironly", "-d") { Description = "Show directories themselves, not what is in them" };
        var recursive = new Option<bool>("--recursive", "-R") { Description = "Show directories with all below them" };
        var checksums = new Option<bool>("--checksum", "-C") { Description = "Show each object's checksum" };
        var xattrs = new Option<bool>("--xattrs", "-X") { Description = "Show extended attributes" };
        var names = new Option<bool>("--nul-filenames-only") { Description = "Print only the names, each with a NUL at its end" };
        return new DocumentedCommand("ls", "List paths in a commit's tree").With(revision, paths, dirOnly, recursive, checksums, xattrs, names)
            .OnRepository((parsed, repository, cancel) =>
            {
                Checksum commit = repository.Resolve(parsed.GetValue(revision)!);
                using Stream output = Console.OpenStandardOutput();
                using var buffered = new BufferedStream(output, 64 * 1024);
                var listing = new Listing(repository, buffered, parsed.GetValue(checksums), parsed.GetValue(xattrs), parsed.GetValue(names), parsed.AsJson());
                foreach (string path in parsed.GetValue(paths) is { Length: > 0 } given ? given : ["/"])
                    listing.Show(repository.Find(commit, path), parsed.GetValue(dirOnly) ? 0 : parsed.GetValue(recursive) ? int.MaxValue : 1, cancel);
                return 0;
            });
    }

    public static Command Cat()
    {
        Argument<string> revision = RepositoryCommand.Revision("COMMIT");
        var paths = new Argument<string[]>("PATH") { Description = "Files in the tree", Arity = ArgumentArity.OneOrMore };
        return new DocumentedCommand("cat", "Print files of a commit").With(revision, paths).OnRepository((parsed, repository, _) =>
        {
            if (parsed.AsJson())
                throw new Finding("cat prints the bytes of files as they are; there is no JSON of them", "ls --json tells what is there");
            Checksum commit = repository.Resolve(parsed.GetValue(revision)!);
            using Stream output = Console.OpenStandardOutput();
            foreach (string path in parsed.GetValue(paths)!)
            {
                FileObject file = repository.Follow(commit, path);
                using Stream bytes = file.OpenContent();
                bytes.CopyTo(output);
            }

            return 0;
        });
    }

    /// <summary>Prints entries as <c>ostree ls</c> does.</summary>
    private sealed class Listing(Repository repository, Stream output, bool checksums, bool xattrs, bool namesOnly, bool json)
    {
        /// <summary>An entry, and below it as many levels as asked for.</summary>
        public void Show(TreeEntry entry, int levels, CancellationToken cancel)
        {
            cancel.ThrowIfCancellationRequested();
            repository.RequireNameable(entry);
            if (json)
                JsonAnswers.Say(writer => Say(writer, entry));
            else
                output.Write(FileName.ToBytes(namesOnly ? entry.Path + "\0" : Line(entry) + "\n"));
            if (!entry.IsDirectory || levels == 0)
                return;
            foreach (TreeEntry child in repository.Children(entry))
                Show(child, levels - 1, cancel);
        }

        private void Say(System.Text.Json.Utf8JsonWriter writer, TreeEntry entry)
        {
            writer.WriteString("path", entry.Path);
            FileObject? file = entry.Content is { } content ? repository.LoadFile(content) : null;
            DirMeta? directory = entry.Meta is { } meta ? repository.LoadDirMeta(meta) : null;
            writer.WriteString("type", directory is not null ? "directory" : file!.Mode.IsSymlink ? "link" : "file");
            writer.WriteString("mode", Convert.ToString((directory?.Mode ?? file!.Mode).Permissions, 8).PadLeft(4, '0'));
            writer.WriteNumber("uid", directory?.Uid ?? file!.Uid);
            writer.WriteNumber("gid", directory?.Gid ?? file!.Gid);
            if (file is not null)
                writer.WriteNumber("size", file.Size);
            writer.WriteString("checksum", $"{entry.Tree ?? entry.Content}");
            if (file?.SymlinkTarget is { } target)
                writer.WriteString("target", target);
        }

        private string Line(TreeEntry entry)
        {
            if (entry is { Tree: { } tree, Meta: { } meta })
            {
                DirMeta directory = repository.LoadDirMeta(meta);
                return Line('d', directory.Mode, directory.Uid, directory.Gid, 0, checksums ? $"{tree} {meta} " : "", directory.Xattrs) + entry.Path;
            }

            FileObject file = repository.LoadFile(entry.Content!.Value);
            string line = Line(file.Mode.IsSymlink ? 'l' : '-', file.Mode, file.Uid, file.Gid, file.Size, checksums ? $"{file.Checksum} " : "", file.Xattrs);
            return file.SymlinkTarget is { } target ? $"{line}{entry.Path} -> {target}" : line + entry.Path;
        }

        private string Line(char kind, Mode mode, uint uid, uint gid, long size, string checksum, XattrList attributes) =>
            $"{kind}0{Convert.ToString(mode.Permissions, 8).PadLeft(4, '0')} {uid} {gid} {size,6} {checksum}{(xattrs ? $"{{ {attributes} }} " : "")}";
    }
}
