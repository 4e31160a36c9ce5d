using Sbox.Codecs;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Image;

/// <summary>How a recipe is built into a repository.</summary>
public sealed record ImageBuildOptions
{
    /// <summary>Ask the mirror for newer packages, whatever is cached.</summary>
    public bool Refresh { get; init; }

    /// <summary>
    /// Make the branch's commit the parent of the new one. Not the default: without a parent the same recipe over the same packages has
    /// one checksum, in whichever repository and order it is built.
    /// </summary>
    public bool KeepHistory { get; init; }
}

/// <summary>What a build gave.</summary>
/// <param name="Commit">The commit, which the recipe's branch leads to.</param>
/// <param name="Plan">The plan that was carried out.</param>
/// <param name="AlreadyThere">The branch had this very tree already, so nothing was built.</param>
public sealed record ImageBuildResult(Checksum Commit, TreePlan Plan, bool AlreadyThere);

/// <summary>Recipe -> commit. Nothing reaches the repository before the whole tree is built.</summary>
public sealed class ImageBuilder(BuildCache cache)
{
    /// <summary>The commit's metadata that says what it was built from.</summary>
    public const string DigestKey = "sbox.recipe-digest";

    /// <summary>The commit's metadata that lists its packages: <c>name version architecture</c> each.</summary>
    public const string PackagesKey = "sbox.packages";

    /// <summary>The commit's metadata with the recipe's kernel arguments, one each.</summary>
    public const string KernelArgumentsKey = "sbox.kargs";

    /// <summary>The commit's metadata, true where its initrd encrypts and opens the disk of a root; else absent.</summary>
    public const string EncryptedRootKey = DiskOpening.MetadataKey;

    /// <summary>The commit's metadata with what a new box of it starts as when nobody chooses: <c>ghost</c> or <c>ghost-in-memory</c>; absent for the normal entry.</summary>
    public const string BootsAsKey = DefaultBoots.MetadataKey;

    /// <summary>Builds the recipe's tree and commits it to the recipe's branch.</summary>
    /// <param name="recipe">What to build.</param>
    /// <param name="programs">The box's programs; null when the recipe wants none.</param>
    /// <param name="repository">Where to.</param>
    /// <param name="options">How.</param>
    /// <param name="progress">Told of every step, and the lines of the tools.</param>
    /// <param name="cancel">Kills what runs; the repository stays as it was.</param>
    /// <exception cref="BuildFailedException">A tool failed; the repository is as it was.</exception>
    /// <exception cref="RepositoryException">The tree cannot be committed.</exception>
    public ImageBuildResult Build(
        Recipe recipe, BoxPrograms? programs, Repository repository, ImageBuildOptions? options = null,
        IProgress<BuildStep>? progress = null, CancellationToken cancel = default)
    {
        options ??= new ImageBuildOptions();
        var trees = new TreeBuilder(cache);
        TreePlan plan = trees.Plan(recipe, programs, options.Refresh);
        if (Find(repository, plan) is { } found)
        {
            trees.Touch(plan);
            return new ImageBuildResult(found, plan, AlreadyThere: true);
        }

        using BuiltTree tree = trees.Build(plan, progress, cancel);
        progress?.Report(new BuildStep("commit", ""));
        Checksum commit = repository.CommitDirectory(tree.Path, Options(tree, options), progress: null, cancel);
        return new ImageBuildResult(commit, plan, AlreadyThere: false);
    }

    // The recipe, the programs and the packages decide every byte: where all three are the branch's, building could only repeat it.
    private static Checksum? Find(Repository repository, TreePlan plan)
    {
        if (plan.CachedPackages is not { } packages || repository.TryResolve(plan.Recipe.Ref) is not { } commit || repository.IsPartial(commit))
            return null;
        VariantDictionary metadata = repository.LoadCommit(commit).Metadata;
        bool same = metadata.GetString(DigestKey) == plan.Digest.ToString()
            && metadata[PackagesKey] is { Type.Signature: "as" } list
            && list.Items.Select(item => item.Text).SequenceEqual(packages.Select(package => $"{package}"));
        return same ? commit : null;
    }

    private static CommitOptions Options(BuiltTree tree, ImageBuildOptions options) => new()
    {
        Subject = $"{tree.Plan.Recipe.Name} {tree.Plan.Recipe.Version}",
        Timestamp = DateTimeOffset.FromUnixTimeSeconds(tree.Timestamp),
        NoParent = !options.KeepHistory,
        Branches = [tree.Plan.Recipe.Ref],
        ComposefsDigest = true, // whoever deploys it knows then that the image is the publisher's, and need not read what an earlier image tells
        Metadata = Rare(tree.Plan.Recipe)
            .With("version", tree.Plan.Recipe.Version)
            .With("ostree.linux", tree.Kernel)
            .With("ostree.bootable", GVariant.Of(true))
            .With(DigestKey, tree.Plan.Digest.ToString())
            .With(KernelArgumentsKey, GVariant.Of(tree.Plan.Recipe.KernelArguments))
            .With(PackagesKey, GVariant.Of(tree.Packages.Select(package => $"{package}"))),
    };

    // What most recipes do not say is absent from most commits.
    private static VariantDictionary Rare(Recipe recipe)
    {
        VariantDictionary said = recipe.Initrd.EncryptedRoot ? VariantDictionary.Empty.With(EncryptedRootKey, GVariant.Of(true)) : VariantDictionary.Empty;
        return recipe.BootsAs == DefaultBoot.Normal ? said : said.With(BootsAsKey, recipe.BootsAs.Name());
    }
}
