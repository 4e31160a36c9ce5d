using System.IO.Compression;
using System.Text;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Image.Tests;

/// <summary>What is told of two versions of a tree.</summary>
public sealed class TreeChangesTests : IDisposable
{
    private const string Changelog = """
        openssl (3.5.1-1+deb13u1) trixie-security; urgency=medium

          * CVE-2025-9230: out-of-bounds read and write in RFC 3211 KEK unwrap
            (see also CVE-2025-9231)
          * Tighten the rules.

         -- Somebody <somebody@debian.org>  Tue, 30 Sep 2025 10:00:00 +0200

        openssl (3.5.1-1) unstable; urgency=medium

          * Import 3.5.1 (CVE-2025-0001).

         -- Somebody <somebody@debian.org>  Sun, 06 Jul 2025 10:00:00 +0200

        """;

    private readonly TempDirectory temp = new();
    private readonly Repository repository;

    public TreeChangesTests() => repository = Repository.Create(temp.Of("repo"), RepositoryMode.Archive);

    public void Dispose()
    {
        repository.Dispose();
        temp.Dispose();
    }

    [Fact]
    public void A_changelog_tells_of_what_came_after_a_version_and_of_nothing_before()
    {
        var told = Image.Changelog.Since(Changelog, new DebianVersion("3.5.1-1"));
        Assert.Equal(["CVE-2025-9230: out-of-bounds read and write in RFC 3211 KEK unwrap", "Tighten the rules."], told.Headlines);
        Assert.Equal(["CVE-2025-9230", "CVE-2025-9231"], told.Vulnerabilities);
        Assert.Empty(Image.Changelog.Since(Changelog, new DebianVersion("3.5.1-1+deb13u1")).Headlines);
        Assert.Empty(Image.Changelog.Since("no changelog\n  * at all CVE-2025-0001\n", new DebianVersion("1")).Vulnerabilities);
    }

    [Fact]
    public void Packages_are_added_removed_up_and_downgraded()
    {
        IReadOnlyList<PackageChange> changes = PackageChange.Between(
            [new("a", "1", "amd64"), new("b", "2", "amd64"), new("c", "2", "all"), new("same", "1", "amd64"), new("lib", "1", "amd64"), new("lib", "1", "i386"), new("moved", "1", "amd64")],
            [new("b", "2.1", "amd64"), new("c", "1:1", "all"), new("d", "1", "amd64"), new("same", "1", "amd64"), new("lib", "2", "amd64"), new("lib", "1", "i386"), new("moved", "1~", "all")]);
        Assert.Equal(
            [("a", PackageChangeKind.Removed), ("b", PackageChangeKind.Upgraded), ("c", PackageChangeKind.Upgraded), ("d", PackageChangeKind.Added), ("lib", PackageChangeKind.Upgraded), ("moved", PackageChangeKind.Downgraded)],
            changes.Select(static change => (change.Name, change.Kind)));
    }

    [Fact]
    public void Whole_versions_are_told_with_changelogs_defaults_and_sizes()
    {
        Checksum old = Commit(["openssl 3.5.1-1 amd64", "libssl3t64 3.5.1-1 amd64"], ("usr/etc/ssl/openssl.cnf", "old"), ("usr/etc/gone", ""), ("usr/lib/libssl.so", "12345"));
        Checksum @new = Commit(["openssl 3.5.1-1+deb13u1 amd64", "libssl3t64 3.5.1-1+deb13u1 amd64"], ("usr/etc/ssl/openssl.cnf", "new"), ("usr/etc/fresh", ""), ("usr/lib/libssl.so", "1234567"));
        var changes = TreeChanges.Between(repository, old, @new, TestContext.Current.CancellationToken);
        Assert.All(changes.Packages, static change => Assert.Equal(["CVE-2025-9230", "CVE-2025-9231"], change.Changelog.Vulnerabilities)); // one of them by a link to the other's directory
        Assert.Equal(["/etc/ssl/openssl.cnf"], changes.Etc!.Modified);
        Assert.Equal(["/etc/fresh"], changes.Etc.Added);
        Assert.Equal(["/etc/gone"], changes.Etc.Removed);
        Assert.Equal(new TreeSizes(New: 3 + 7, Gone: 3 + 5), changes.Sizes);
    }

    [Fact]
    public async Task Of_a_version_whose_commit_alone_is_here_the_packages_are_told()
    {
        Checksum old = Commit(["openssl 3.5.1-1 amd64"]), @new = Commit(["openssl 3.5.1-1+deb13u1 amd64"]);
        using Repository box = Repository.Create(temp.Of("box"), RepositoryMode.Archive);
        box.PullLocal(repository, new PullLocalOptions { Refs = [$"{old}"] }, cancel: TestContext.Current.CancellationToken);
        box.WriteConfig(box.Config.With("remote \"origin\"", "url", $"file://{repository.Path}").With("remote \"origin\"", "gpg-verify", "false"));
        await box.Pull(new PullOptions { Remote = "origin", Refs = ["main"], CommitMetadataOnly = true, WithoutRefs = true }, cancel: TestContext.Current.CancellationToken);
        var changes = TreeChanges.Between(box, old, @new, TestContext.Current.CancellationToken);
        PackageChange change = Assert.Single(changes.Packages);
        Assert.Equal(("3.5.1-1", "3.5.1-1+deb13u1", PackageChangeKind.Upgraded), (change.Old!.Version, change.New!.Version, change.Kind));
        Assert.Null(changes.Etc);
    }

    [Fact]
    public void Without_a_list_dpkgs_database_tells_and_without_both_it_is_said()
    {
        Checksum old = Commit(null, ("usr/lib/sysimage/dpkg/status", "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2\n"));
        Checksum @new = Commit(["bash 5.3 amd64"]);
        Assert.Equal(PackageChangeKind.Upgraded, Assert.Single(TreeChanges.Between(repository, old, @new, TestContext.Current.CancellationToken).Packages).Kind);
        Checksum none = Commit(null);
        Assert.Equal(none, Assert.Throws<NoPackageListException>(() => TreeChanges.Between(repository, none, @new, TestContext.Current.CancellationToken)).Commit);
    }

    private Checksum Commit(string[]? packages, params (string Path, string Text)[] files)
    {
        string tree = temp.Of($"tree-{Guid.NewGuid():N}");
        foreach ((string path, string text) in files)
            Write($"{tree}/{path}", Encoding.UTF8.GetBytes(text));
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
            gzip.Write(Encoding.UTF8.GetBytes(Changelog));
        Write($"{tree}/usr/share/doc/openssl/changelog.Debian.gz", packed.ToArray());
        File.CreateSymbolicLink($"{tree}/usr/share/doc/libssl3t64", "openssl");
        VariantDictionary metadata = packages is null ? VariantDictionary.Empty : VariantDictionary.Empty.With(ImageBuilder.PackagesKey, GVariant.Of(packages));
        return repository.CommitDirectory(tree, new CommitOptions { Branches = ["main"], Metadata = metadata });
    }

    private static void Write(string path, byte[] bytes)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, bytes);
    }
}
