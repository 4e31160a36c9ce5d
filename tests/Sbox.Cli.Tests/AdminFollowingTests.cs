using Sbox.Judges;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary><c>ostree admin upgrade</c>: which commit of which branch, beside real ostree.</summary>
public sealed class AdminFollowingTests
{
    [Fact]
    public async Task A_commit_that_was_named_is_deployed_and_no_other_branch_followed_though_it_says_that_its_branch_ends()
    {
        await Ended(static asked => Task.FromResult(Judge.Ostree.Ask(asked).ExitCode));
        await Ended(static asked => Invocation.Run(Programs.Ostree(), asked, TestContext.Current.CancellationToken));
    }

    private static async Task Ended(Func<string[], Task<int>> ostree)
    {
        using var box = new TestBox();
        box.InstalledWithoutEsp(box.Publish(1)).Dispose();
        box.Fetch();
        Commit(box, "debian/next");
        string named = Commit(box, TestBox.Ref, "--add-metadata-string=ostree.endoflife-rebase=debian/next");
        Commit(box, TestBox.Ref, "--subject=newest");
        Judge.HostOstree.Run("summary", $"--repo={box.Source}", "-u");
        File.AppendAllText($"{box.SysrootPath}/ostree/repo/config", $"\n[remote \"{TestBox.Remote}\"]\nurl=file://{box.Source}\ngpg-verify=false\n");
        Assert.Equal(0, await ostree(["admin", "upgrade", $"--sysroot={box.SysrootPath}", $"--os={TestBox.Os}", $"--override-commit={named}"]));
        using OstreeSysroot sysroot = box.Open();
        Assert.Equal((named, $"{TestBox.Remote}:{TestBox.Ref}"), ($"{sysroot.Deployments[0].Name.Commit}", $"{sysroot.Deployments[0].Origin!.Refspec}"));
    }

    private static string Commit(TestBox box, string branch, params string[] more) => Judge.HostOstree.Run(
        ["commit", $"--repo={box.Source}", $"--branch={branch}", $"--tree=ref={TestBox.Ref}", $"--timestamp={TestBox.Start.AddDays(9):yyyy-MM-dd HH:mm:ss} +0000", .. more]).Trim();
}
