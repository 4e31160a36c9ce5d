using System.Security.Cryptography;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Image;

/// <summary>What was sealed.</summary>
/// <param name="Commit">The commit.</param>
/// <param name="Seal">Its seal.</param>
/// <param name="UkiDigest">What the signature of the UKI covers.</param>
/// <param name="LoaderDigest">What the signature of the boot loader covers.</param>
public sealed record SealResult(Checksum Commit, CommitSeal Seal, Checksum UkiDigest, Checksum LoaderDigest);

/// <summary>
/// Seals commits: assembles the boot files that a box will assemble from the same commit, signs them, and leaves only the signatures
/// beside the commit. Sealing again with the same keys gives the same bytes.
/// </summary>
/// <param name="repository">Where the commit is, all of it.</param>
/// <param name="cache">Where it works meanwhile.</param>
public sealed class CommitSealer(Repository repository, BuildCache cache)
{
    /// <summary>Seals a commit and signs it.</summary>
    /// <param name="commit">The commit.</param>
    /// <param name="db">Each signs the boot files; the newest first.</param>
    /// <param name="tree">Signs the commit.</param>
    /// <param name="pcr">Signs the states in which a TPM may give a disk's key out; null: none is signed.</param>
    /// <param name="progress">Told of each step.</param>
    /// <param name="cancel">Looked at between steps; nothing is sealed by then.</param>
    /// <exception cref="NoKernelException">The tree cannot boot.</exception>
    /// <exception cref="NoBootLoaderException">The tree has no EFI stub or boot loader.</exception>
    public SealResult Seal(Checksum commit, IReadOnlyList<Signer> db, Ed25519Key tree, RSA? pcr = null, IProgress<BuildStep>? progress = null, CancellationToken cancel = default)
    {
        progress?.Report(new BuildStep("composefs image", ""));
        Checksum image = repository.WriteComposefs(commit, Stream.Null, cancel).Digest;
        using WorkDirectory work = cache.Work();
        progress?.Report(new BuildStep("boot files", ""));
        using Dir files = CheckOut(commit, work, cancel);
        SealableFiles sealable = SealableFiles.Of(repository, commit, files);

        CommitSeal seal = sealable.Unsigned(image, BootProfiles.Standard);
        if (pcr is not null)
        {
            progress?.Report(new BuildStep("TPM policies", ""));
            seal = seal with { Pcr = new PcrSignatures(PcrPolicy.PublicPem(pcr), "") };
            seal = seal with { Pcr = seal.Pcr with { Signatures = PcrPolicy.Sign(sealable.Uki(seal), pcr) } };
        }

        Checksum uki = sealable.UkiDigest(seal), loader = sealable.LoaderDigest();
        progress?.Report(new BuildStep("signatures", ""));
        // The oldest key's first: firmware that knows several goes by the first that it finds good, and measures it. What opens disks notices a new key only when the old one is gone.
        db = [.. db.Reverse()];
        seal = seal with { UkiSignatures = [.. db.Select(key => Authenticode.Sign(uki, key))], LoaderSignatures = [.. db.Select(key => Authenticode.Sign(loader, key))] };

        byte[] bytes = repository.LoadMetadata(new ObjectName(commit, ObjectType.Commit));
        VariantDictionary detached = CommitSignatures.Sign(seal.AddTo(repository.LoadDetachedMetadata(commit)), bytes, tree);
        using Transaction transaction = repository.Begin(cancel);
        transaction.WriteDetachedMetadata(commit, detached);
        transaction.Commit();
        return new SealResult(commit, seal, uki, loader);
    }

    // Only what boots: kernel, initrd, stub, loader, os-release.
    private Dir CheckOut(Checksum commit, WorkDirectory work, CancellationToken cancel)
    {
        using Dir parent = Dir.Open(work.Path);
        Dir root = parent.MakeAndOpenDir("tree");
        foreach (string path in (string[])["usr/lib/modules", "usr/lib/systemd/boot/efi"])
        {
            if (repository.TryFind(commit, $"/{path}") is not { IsDirectory: true } found)
                continue;
            using Dir into = root.MakeAndOpenDir(path);
            foreach (TreeEntry entry in Flat(found))
                Copy(entry, into, entry.Path[(found.Path.Length + 1)..], cancel);
        }

        foreach (string path in (string[])["usr/lib/os-release", "usr/etc/os-release"])
        {
            if (repository.TryFind(commit, $"/{path}") is not { Content: not null } release)
                continue;
            root.MakeDirs(Path.GetDirectoryName(path)!);
            Copy(release, root, path, cancel);
        }

        return root;
    }

    // Of usr/lib/modules/VERSION its own files; the kernel's modules are below and boot nothing.
    private IEnumerable<TreeEntry> Flat(TreeEntry directory) => repository.Children(directory)
        .SelectMany(child => child.IsDirectory ? repository.Children(child).Where(static inner => !inner.IsDirectory || inner.Path.EndsWith("/dtb", StringComparison.Ordinal)) : [child]);

    private void Copy(TreeEntry entry, Dir into, string path, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        if (entry.IsDirectory)
        {
            foreach (TreeEntry child in repository.Children(entry))
                Copy(child, into, $"{path}/{Path.GetFileName(child.Path)}", cancel);
            return;
        }

        FileObject file = repository.LoadFile(entry.Content!.Value);
        if (Path.GetDirectoryName(path) is { Length: > 0 } parent)
            into.MakeDirs(parent);
        if (file.SymlinkTarget is { } target)
        {
            into.Symlink(target, path);
            return;
        }

        using var output = new FileStream(into.CreateFile(path), FileAccess.Write);
        using Stream content = file.OpenContent();
        // Not CopyTo: a decompressor's asks its input for more than the content, and an archive's input takes that for a cut.
        var buffer = new byte[128 * 1024];
        for (int read; (read = content.Read(buffer)) > 0;)
            output.Write(buffer, 0, read);
    }
}
