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
    public void A_real_debian_built_twice_from_scratch_is_one_commit_and_real_ostree_finds_it_whole()
    {
        Recipe recipe = RecipeReader.Read(SourceTree.Of("images", "debian-minimal.toml"));
        using Repository repository = Repository.Create(directory.Of("repo"), RepositoryMode.Bare);
        Checksum first = Build(recipe, repository, "first"), second = Build(recipe, repository, "second");
        Assert.Equal(first, second);
        Judge.Ostree.Run("fsck", "--repo=" + repository.Path);
        Assert.Contains("/usr/lib/modules/", Judge.Ostree.Run("ls", "--repo=" + repository.Path, $"{first}", "/usr/lib/modules"), StringComparison.Ordinal);
    }

    private static BoxPrograms Programs => new(Out("sbox"), Out("sbox-root"), Out("90sbox")) { SentinelPolicy = Out("sentinel/sentinel.d"), SentinelUnit = Out("sentinel/sbox-watch.service"), VerityUnit = Out("verity/sbox-verity.service"), BoxUnits = Out("box"), Tombs = Out("tomb"), DiskUnit = Out("disk/sbox-disk.service") };

    private static string Out(string name) => SourceTree.Of("out", name);

    // A cache of its own each time, but for the .debs.
    private Checksum Build(Recipe recipe, Repository repository, string name)
    {
        Directory.CreateDirectory($"{Judge.Cache}/apt");
        Directory.CreateDirectory(directory.Of(name));
        File.CreateSymbolicLink(directory.Of($"{name}/apt"), $"{Judge.Cache}/apt");
        return new ImageBuilder(new BuildCache(directory.Of(name))).Build(recipe, Programs, repository, new ImageBuildOptions { Refresh = true }).Commit;
    }
}
