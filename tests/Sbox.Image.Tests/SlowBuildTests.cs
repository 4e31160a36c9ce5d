using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;

namespace Sbox.Image.Tests;

/// <summary>The real thing: mmdebstrap and the initrd, from nothing but the .debs that are in the cache. Minutes.</summary>
public sealed class SlowBuildTests : IDisposable
{
    private readonly TempDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Fact, Trait("Category", "Slow")]
    public void A_real_debian_built_again_from_scratch_is_the_same_commit_and_boots_the_same_kernel_image_and_real_ostree_finds_it_whole()
    {
        Recipe recipe = RecipeReader.Read(SourceTree.Of("images", "debian-minimal.toml"));
        Built first = Build("first", repository => FromScratch(recipe, repository, "first"));
        // The tour has built it too, or will want it: its base tree may lie in the cache. One of days ago holds older packages, and says nothing: then it is made
        // anew there, and the next run finds it.
        Built other = Build("other", repository => FromCache(recipe, repository, refresh: false));
        Assert.Equal(first, other == first ? other : Build("second", repository => FromCache(recipe, repository, refresh: true)));
        Judge.Ostree.Run("fsck", "--repo=" + directory.Of("first.repo"));
        Assert.Contains("/usr/lib/modules/", Judge.Ostree.Run("ls", "--repo=" + directory.Of("first.repo"), $"{first.Commit}", "/usr/lib/modules"), StringComparison.Ordinal);
    }

    /// <summary>What two builds must have in common.</summary>
    /// <param name="Commit">The whole tree.</param>
    /// <param name="Uki">The kernel image that boots it, command line and all, before anyone signs it.</param>
    /// <param name="Loader">The boot loader.</param>
    private sealed record Built(Checksum Commit, Checksum Uki, Checksum Loader);

    private static BoxPrograms Programs => new(Out("sbox"), Out("sbox-root"), Out("90sbox")) { SentinelPolicy = Out("sentinel/sentinel.d"), SentinelUnit = Out("sentinel/sbox-watch.service"), VerityUnit = Out("verity/sbox-verity.service"), BoxUnits = Out("box"), Tombs = Out("tomb"), DiskUnit = Out("disk/sbox-disk.service") };

    private static string Out(string name) => SourceTree.Of("out", name);

    // In a repository of its own: one that has the commit would not be built into.
    private Built Build(string name, Func<Repository, ImageBuildResult> build)
    {
        using Repository repository = Repository.Create(directory.Of($"{name}.repo"), RepositoryMode.Bare);
        Checksum commit = build(repository).Commit;
        var passphrase = new Passphrase("of a test");
        OwnerKeys keys = OwnerKeys.Create(directory.Of($"{name}.keys"), "Test", passphrase, TimeProvider.System);
        using Ed25519Key tree = keys.OpenTree(passphrase);
        SealResult seal = new CommitSealer(repository, new BuildCache(directory.Of($"{name}.seal"))).Seal(commit, keys.OpenAllDb(passphrase), tree, pcr: null);
        return new Built(commit, seal.UkiDigest, seal.LoaderDigest);
    }

    private static ImageBuildResult FromCache(Recipe recipe, Repository repository, bool refresh) =>
        new ImageBuilder(new BuildCache(Judge.Cache)).Build(recipe, Programs, repository, new ImageBuildOptions { Refresh = refresh });

    // A cache of its own each time, but for the .debs.
    private ImageBuildResult FromScratch(Recipe recipe, Repository repository, string name)
    {
        Directory.CreateDirectory($"{Judge.Cache}/apt");
        Directory.CreateDirectory(directory.Of(name));
        File.CreateSymbolicLink(directory.Of($"{name}/apt"), $"{Judge.Cache}/apt");
        return new ImageBuilder(new BuildCache(directory.Of(name))).Build(recipe, Programs, repository, new ImageBuildOptions { Refresh = true });
    }
}
