using System.Security.Cryptography;
using Sbox.Judges;
using Sbox.Store;

namespace Sbox.Cli.Tests;

/// <summary>What is asked for on the command line is asked for: no other option, and no missing signature, undoes it silently.</summary>
public sealed class StoreTrustTests
{
    [Fact]
    public async Task A_delta_that_nobody_signed_is_refused_where_a_key_is_asked_for_and_passes_as_ostree_lets_it()
    {
        using var temp = new Sysroot.Tests.TempDir();
        string key = Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)), delta = Path.Combine(temp.Path, "delta");
        Codecs.Checksum commit;
        using (Repository source = Repository.Create(Path.Combine(temp.Path, "source"), RepositoryMode.Archive))
        {
            Directory.CreateDirectory(Path.Combine(temp.Path, "tree"));
            commit = source.CommitDirectory(Path.Combine(temp.Path, "tree"), new CommitOptions());
            source.MakeDelta(new DeltaName(null, commit), new DeltaOptions { Inline = true, FileName = delta });
        }

        File.WriteAllText(delta + ".keys", key);
        foreach ((string[] asked, bool inConfig) in ((string[], bool)[])[([key], false), ([$"--keys-file={delta}.keys"], false), ([$"--keys-dir={temp.Path}"], false), ([], true), ([key], true)])
        {
            string target = Target(inConfig);
            Assert.Equal(1, await Run(Programs.Sbox(), ["store", "static-delta", "apply-offline", $"--repo={target}", delta, .. asked]));
            Assert.False(Has(target));
            Assert.Equal(0, await Run(Programs.Ostree(), ["static-delta", "apply-offline", $"--repo={target}", delta, .. asked]));
            Assert.True(Has(target));
            if (asked is not [['-', ..]]) // options that not every ostree has
                Assert.Equal(0, Judge.Ostree.Ask(["static-delta", "apply-offline", $"--repo={Target(inConfig)}", delta, .. asked]).ExitCode);
        }

        Assert.Equal(0, await Run(Programs.Sbox(), ["store", "static-delta", "apply-offline", $"--repo={Target(inConfig: false)}", delta]));

        string Target(bool inConfig)
        {
            using Repository made = Repository.Create(Path.Combine(temp.Path, Guid.NewGuid().ToString("N")), RepositoryMode.Archive);
            if (inConfig)
                made.WriteConfig(made.Config.With("core", "sign-verify-deltas", "true"));
            return made.Path;
        }

        bool Has(string path)
        {
            using Repository repository = Repository.Open(path);
            return repository.Has(new ObjectName(commit, ObjectType.Commit));
        }
    }

    [Fact]
    public async Task A_remote_cannot_be_asked_for_signatures_and_for_none()
    {
        using var temp = new Sysroot.Tests.TempDir();
        using Repository repository = Repository.Create(Path.Combine(temp.Path, "repo"), RepositoryMode.Archive);
        string[] both = ["remote", "add", $"--repo={repository.Path}", "origin", "https://example.org", "--sign-verify=ed25519=inline:AAAA", "--no-sign-verify"];
        string before = File.ReadAllText(Path.Combine(repository.Path, "config"));
        Assert.Equal(1, Judge.Ostree.Ask(both).ExitCode);
        Assert.Equal(1, await Run(Programs.Ostree(), both));
        Assert.Equal(1, await Run(Programs.Sbox(), ["store", .. both]));
        Assert.Equal(before, File.ReadAllText(Path.Combine(repository.Path, "config")));
    }

    private static Task<int> Run(System.CommandLine.Command program, string[] arguments) =>
        Invocation.Run(program, arguments, TestContext.Current.CancellationToken);
}
