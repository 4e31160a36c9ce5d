using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>The boot files of a commit as a box will assemble them, for whoever signs them elsewhere.</summary>
public sealed class SealableFiles
{
    private const string Root = "root=LABEL=sbox-root";
    private readonly Dir tree;
    private readonly BootTarget target;

    private SealableFiles(Dir tree, BootTarget target) => (this.tree, this.target) = (tree, target);

    /// <summary>Looks at a commit whose boot files were checked out.</summary>
    /// <param name="repository">Where the commit is.</param>
    /// <param name="commit">The commit.</param>
    /// <param name="tree">Its kernel, initrd, EFI programs and os-release in their places; stays the caller's.</param>
    /// <exception cref="NoKernelException">The tree has no kernel.</exception>
    public static SealableFiles Of(Repository repository, Checksum commit, Dir tree)
    {
        Commit loaded = repository.LoadCommit(commit);
        // No serial and no stateroot: those are the box's affair, and nothing of them is in a sealed UKI.
        var name = new DeploymentName("any", commit, 0);
        return new SealableFiles(tree, new BootTarget(
            name, KernelLayout.Find(tree), new CommitTree(repository, commit).RecipeArguments, OsRelease.Of(tree), loaded.Version, loaded.Time));
    }

    /// <summary>The seal, signatures still missing.</summary>
    /// <param name="composefs">The fs-verity digest of the tree's composefs image.</param>
    /// <param name="profiles">Menu entries, the default one first.</param>
    public CommitSeal Unsigned(Checksum composefs, IReadOnlyList<SealProfile> profiles)
    {
        KernelArguments arguments = KernelArguments.Parse($"{Root} sbox.commit={target.Name.Commit} composefs={composefs} sbox.verity=required")
            .Append(target.Arguments.ToString());
        return new CommitSeal(composefs, arguments.ToString(), UnifiedKernel.Release(target).ToString(), profiles, [], []);
    }

    /// <summary>The UKI as a box will assemble it, in memory.</summary>
    public byte[] Uki(CommitSeal seal)
    {
        using var image = new MemoryStream();
        using (UnifiedKernel parts = UnifiedKernel.Of(tree, target with { Seal = seal }, seal.Composefs))
            UnifiedKernel.Assemble(parts, image);
        return image.ToArray();
    }

    /// <summary>What a signature of the UKI has to cover.</summary>
    public Checksum UkiDigest(CommitSeal seal)
    {
        using var digest = new PeDigest();
        using (UnifiedKernel parts = UnifiedKernel.Of(tree, target with { Seal = seal }, seal.Composefs))
            UnifiedKernel.Assemble(parts, digest);
        return digest.Finish();
    }

    /// <summary>What a signature of the boot loader has to cover.</summary>
    /// <exception cref="NoBootLoaderException">The tree has none.</exception>
    public Checksum LoaderDigest()
    {
        string path = UnifiedKernel.BootLoaderPath(UnifiedKernel.Machine(tree.Exists, tree.Path));
        return PeDigest.Of(tree.TryReadAll(path) ?? throw new NoBootLoaderException(tree.Path, path));
    }
}
