using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Writes directories out, each made private first and opened to others when all in it is there. One thread walks and makes directories,
/// a few write files.
/// </summary>
internal sealed class TreeCheckout(
    Repository repository, CheckoutOptions options, IProgress<CheckoutProgress>? progress, CancellationToken cancel)
{
    private const uint Private = 0x1C0; // 0700
    private const int Handful = 128; // two threads that make names in one directory wait for each other
    private const uint PlainPermissions = 0x1FD; // 0775: what a repository in mode bare-user-only has of files, it makes of directories

    private readonly bool plainDirectories = options.PlainDirectories || repository.Mode == RepositoryMode.BareUserOnly;
    private readonly FileCheckout fileCheckout = new(repository, options);
    private readonly Dictionary<Checksum, DirMeta> metas = [];
    private long files, directories;

    public void Write(TreeEntry from, Dir destination, string name)
    {
        if (from.IsDirectory)
        {
            using var work = new ParallelWork<PendingFile>(WriteFile, static pending => pending.Into.Release(finish: false), cancel, Handful);
            WriteDirectory(from.Tree!.Value, from.Meta!.Value, "/", destination, name, parent: null, work);
            work.Finish();
            return;
        }

        // As libostree: a single file is put into a directory of that name, or with "." into the destination itself.
        string fileName = from.Path[(from.Path.LastIndexOf('/') + 1)..];
        using Dir holder = name == "." ? destination.OpenDir(".") : destination.MakeAndOpenDir(name, Private);
        fileCheckout.Write(repository.LoadFile(from.Content!.Value), holder, fileName, own: null);
    }

    private void WriteDirectory(
        Checksum tree, Checksum metaName, string path, Dir parentDir, string name, PendingDirectory? parent, ParallelWork<PendingFile> work)
    {
        TreeDepth.Check(path, repository.Path);
        cancel.ThrowIfCancellationRequested();
        if (!metas.TryGetValue(metaName, out DirMeta? meta))
            metas.Add(metaName, meta = repository.LoadDirMeta(metaName));
        if (options.Filter?.Invoke(path, meta.Mode) == false)
            return;

        DirTree names = repository.LoadDirTree(tree);
        bool isNew = Make(parentDir, name);
        Dir dir = parentDir.OpenDir(name);
        var pending = new PendingDirectory(dir, isNew ? opened => Finish(opened, meta) : null, parent);
        bool all = false;
        try
        {
            if (isNew && !options.UserMode)
            {
                foreach (Xattr xattr in meta.Xattrs)
                    Xattrs.Set(dir.Handle, xattr, dir.Path);
            }

            if (options.Whiteouts)
                names = Whiteouts.Apply(names, dir);
            AddFiles(names, path, pending, isNew ? new NewDirectory() : null, work);
            foreach (DirTreeDirectory inner in names.Directories)
                WriteDirectory(inner.Tree, inner.Meta, Join(path, inner.Name), dir, inner.Name, pending, work);
            directories++;
            all = true;
        }
        finally
        {
            pending.Release(finish: all);
        }
    }

    private const string PassthroughPrefix = ".ostree-wh.";

    private void AddFiles(DirTree names, string path, PendingDirectory into, NewDirectory? own, ParallelWork<PendingFile> work)
    {
        foreach (DirTreeFile file in names.Files)
        {
            cancel.ThrowIfCancellationRequested();
            if (options.Filter is not null && !options.Filter(Join(path, file.Name), repository.LoadFile(file.Content).Mode))
                continue;
            if (options.PassthroughWhiteouts && file.Name.StartsWith(PassthroughPrefix, StringComparison.Ordinal) && file.Name.Length > PassthroughPrefix.Length)
            {
                fileCheckout.WriteWhiteout(file.Content, into.Dir, file.Name[PassthroughPrefix.Length..]);
                continue;
            }

            into.Hold();
            work.Add(new PendingFile(into, file, own));
            if (++files % 512 == 0)
                progress?.Report(new CheckoutProgress(files, directories, fileCheckout.BytesCopied));
        }
    }

    private void WriteFile(PendingFile pending)
    {
        bool written = false;
        try
        {
            fileCheckout.Write(pending.File.Content, pending.Into.Dir, pending.File.Name, pending.Own);
            written = true;
        }
        finally
        {
            pending.Into.Release(finish: written);
        }
    }

    private bool Make(Dir parent, string name)
    {
        try
        {
            parent.MakeDir(name, Private);
            return true;
        }
        catch (LinuxException taken) when (taken.Errno == Errno.EEXIST && options.Overwrite != CheckoutOverwrite.None)
        {
            return false;
        }
    }

    private void Finish(Dir dir, DirMeta meta)
    {
        if (!options.UserMode)
            Linux.Files.ChangeOwner(dir.Handle, meta.Uid, meta.Gid, dir.Path);
        Linux.Files.ChangeMode(dir.Handle, plainDirectories ? meta.Mode.Permissions & PlainPermissions : meta.Mode.Permissions, dir.Path);
        // One time for all checkouts; not for copies, which are meant to be changed (/etc).
        if (!options.ForceCopy)
            Linux.Files.SetModified(dir.Handle, 0, 0, dir.Path);
    }

    private static string Join(string path, string name) => path == "/" ? path + name : $"{path}/{name}";

    private readonly record struct PendingFile(PendingDirectory Into, DirTreeFile File, NewDirectory? Own);

    /// <summary>A directory that is open until all that belongs into it is written: its files, its directories, and its own walk.</summary>
    private sealed class PendingDirectory
    {
        private readonly Action<Dir>? finish;
        private readonly PendingDirectory? parent;
        private int holders = 1;
        private volatile bool broken;

        public PendingDirectory(Dir dir, Action<Dir>? finish, PendingDirectory? parent)
        {
            (Dir, this.finish, this.parent) = (dir, finish, parent);
            parent?.Hold();
        }

        public Dir Dir { get; }

        public void Hold() => Interlocked.Increment(ref holders);

        /// <summary>The last one finishes the directory, unless something in it failed: then it stays private.</summary>
        public void Release(bool finish)
        {
            broken |= !finish;
            if (Interlocked.Decrement(ref holders) > 0)
                return;
            using (Dir)
            {
                bool whole = false;
                try
                {
                    if (!broken)
                        this.finish?.Invoke(Dir);
                    whole = !broken;
                }
                finally
                {
                    parent?.Release(whole);
                }
            }
        }
    }
}
