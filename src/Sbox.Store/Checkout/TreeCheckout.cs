using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Writes directories out, each made private first and opened to others when all in it is there.</summary>
internal sealed class TreeCheckout(
    Repository repository, CheckoutOptions options, IProgress<CheckoutProgress>? progress, CancellationToken cancel)
{
    private const uint Private = 0x1C0; // 0700
    private readonly FileCheckout fileCheckout = new(repository, options);
    private readonly Dictionary<Checksum, DirMeta> metas = [];
    private long files, directories;

    public void Write(TreeEntry from, Dir destination, string name)
    {
        if (from.IsDirectory)
        {
            WriteDirectory(from.Tree!.Value, from.Meta!.Value, "/", destination, name);
            return;
        }

        // As libostree: a single file is put into a directory of that name, or with "." into the destination itself.
        string fileName = from.Path[(from.Path.LastIndexOf('/') + 1)..];
        using Dir holder = name == "." ? destination.OpenDir(".") : destination.MakeAndOpenDir(name, Private);
        fileCheckout.Write(repository.LoadFile(from.Content!.Value), holder, fileName);
    }

    private void WriteDirectory(Checksum tree, Checksum metaName, string path, Dir parent, string name)
    {
        TreeDepth.Check(path, repository.Path);
        cancel.ThrowIfCancellationRequested();
        if (!metas.TryGetValue(metaName, out DirMeta? meta))
            metas.Add(metaName, meta = repository.LoadDirMeta(metaName));
        if (options.Filter?.Invoke(path, meta.Mode) == false)
            return;

        DirTree names = repository.LoadDirTree(tree);
        bool isNew = Make(parent, name);
        using Dir dir = parent.OpenDir(name);
        if (isNew && !options.UserMode)
        {
            foreach (Xattr xattr in meta.Xattrs)
                Xattrs.Set(dir.Handle, xattr, dir.Path);
        }

        WriteFiles(names, path, dir);
        foreach (DirTreeDirectory inner in names.Directories)
            WriteDirectory(inner.Tree, inner.Meta, Join(path, inner.Name), dir, inner.Name);
        if (isNew)
            Finish(dir, meta);
        directories++;
    }

    private void WriteFiles(DirTree names, string path, Dir dir)
    {
        foreach (DirTreeFile file in names.Files)
        {
            cancel.ThrowIfCancellationRequested();
            if (options.Filter is not null && !options.Filter(Join(path, file.Name), repository.LoadFile(file.Content).Mode))
                continue;
            fileCheckout.Write(file.Content, dir, file.Name);
            if (++files % 512 == 0)
                progress?.Report(new CheckoutProgress(files, directories, fileCheckout.BytesCopied));
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
        Linux.Files.ChangeMode(dir.Handle, meta.Mode.Permissions, dir.Path);
        // One time for all checkouts; not for copies, which are meant to be changed (/etc).
        if (!options.ForceCopy)
            Linux.Files.SetModified(dir.Handle, 0, 0, dir.Path);
    }

    private static string Join(string path, string name) => path == "/" ? path + name : $"{path}/{name}";
}
