using System.Diagnostics;
using System.Text.Json;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>An upgrade that comes by a stick, from a publisher to a box that has no network.</summary>
public sealed class StickTests : IDisposable
{
    private readonly TestBox box = new() { RealStub = true };
    private readonly TempDir temp = new();
    private readonly Ed25519Key key = Ed25519Key.Generate();
    private readonly Checksum one;

    public StickTests()
    {
        one = box.Publish(1);
        box.Installed(one).Dispose();
        temp.Write("secret", Convert.ToBase64String([.. key.ToSeed(), .. Convert.FromBase64String($"{key.Public}")]));
        Directory.CreateDirectory(temp.Of("stick"));
        string config = $"{box.SysrootPath}/ostree/repo/config";
        File.AppendAllText(config, $"\n[remote \"{TestBox.Remote}\"]\nurl=http://127.0.0.1:1/gone\ngpg-verify=false\nsign-verify-summary=true\nverification-ed25519-key={key.Public}\n");
    }

    public void Dispose()
    {
        key.Dispose();
        temp.Dispose();
        box.Dispose();
    }

    [Fact]
    public void A_stick_brings_an_upgrade_and_stock_ostree_reads_it_too()
    {
        Checksum two = box.Publish(2);
        Sbox("publish", "--repo", box.Source, "--to", $"usb:{temp.Of("stick")}", "--sign-from-file", temp.Of("secret"));
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={temp.Of("stick")}/.ostree/repo"));
        Assert.Equal($"{two}", Judge.HostOstree.Run("rev-parse", $"--repo={temp.Of("stick")}/.ostree/repo", TestBox.Ref).Trim());
        string said = Sbox("upgrade", "--from", temp.Of("stick"), $"--sysroot={box.SysrootPath}", $"--esp={box.EspPath}", "--json");
        JsonElement answer = JsonDocument.Parse(said).RootElement;
        Assert.Equal(("deployed", $"{two}"), (answer.GetProperty("state").GetString(), answer.GetProperty("checksum").GetString()));
        using OstreeSysroot sysroot = box.Open();
        Assert.Equal([two, one], sysroot.Deployments.Select(static each => each.Name.Commit));
    }

    [Fact]
    public void What_somebody_else_put_on_a_stick_is_not_taken()
    {
        box.Publish(2);
        using var other = Ed25519Key.Generate();
        temp.Write("other", Convert.ToBase64String([.. other.ToSeed(), .. Convert.FromBase64String($"{other.Public}")]));
        Sbox("publish", "--repo", box.Source, "--to", $"usb:{temp.Of("stick")}", "--sign-from-file", temp.Of("other"));
        Verdict refused = Ask("upgrade", "--from", temp.Of("stick"), $"--sysroot={box.SysrootPath}", $"--esp={box.EspPath}");
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("summary", refused.Error);
        using OstreeSysroot sysroot = box.Open();
        Assert.Equal([one], sysroot.Deployments.Select(static each => each.Name.Commit));
    }

    [Fact]
    public void A_directory_without_a_repository_is_said_to_be_none()
    {
        Verdict refused = Ask("upgrade", "--from", temp.Of("stick"), $"--sysroot={box.SysrootPath}", $"--esp={box.EspPath}");
        Assert.Contains($"{temp.Of("stick")}: there is no repository, and none in .ostree/repo", refused.Error);
    }

    [Fact]
    public void Ended_at_any_moment_an_upgrade_from_a_stick_goes_on_when_it_is_typed_again()
    {
        Checksum two = box.PublishWith(2, [.. Enumerable.Range(0, 400).Select(static at => ($"usr/share/{at}", $"{at} {new string('x', at * 50)}"))]);
        Sbox("publish", "--repo", box.Source, "--to", $"usb:{temp.Of("stick")}", "--sign-from-file", temp.Of("secret"));
        string[] upgrade = ["upgrade", "--from", temp.Of("stick"), $"--sysroot={box.SysrootPath}", $"--esp={box.EspPath}"];
        for (int wait = 300; wait < 1500; wait += 200)
        {
            using Process process = Process.Start(new ProcessStartInfo($"{RunningBox.Program}/sbox", upgrade) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            if (!process.WaitForExit(wait))
                process.Kill();
            process.WaitForExit();
            Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={box.SysrootPath}/ostree/repo"));
        }

        Sbox(upgrade);
        using OstreeSysroot sysroot = box.Open();
        Assert.Equal(two, sysroot.Deployments[0].Name.Commit);
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={box.SysrootPath}/ostree/repo"));
    }

    [Fact]
    public void Where_links_and_permissions_cannot_be_made_a_stick_is_filled_all_the_same()
    {
        Checksum two = box.Publish(2);
        string[] program = [TestedProgram.Sbox, "publish", "--repo", box.Source, "--to", $"usb:{temp.Of("stick")}", "--unsigned", "--deltas", "0", "--no-delta-from-nothing"];
        Verdict said = Judge.OnPath("strace").Ask(
            ["-f", "-qq", "-o", "/dev/null", "-e", "trace=fchmod,fchmodat,linkat,symlinkat", "-e", "inject=fchmod,fchmodat,linkat,symlinkat:error=EPERM", .. program]);
        Assert.True(said.ExitCode == 0, said.Error);
        Assert.Equal($"{two}", Judge.HostOstree.Run("rev-parse", $"--repo={temp.Of("stick")}/.ostree/repo", TestBox.Ref).Trim());
    }

    [Fact]
    public void What_is_on_a_stick_has_names_that_FAT_keeps()
    {
        Checksum two = box.Publish(2);
        Sbox("publish", "--repo", box.Source, "--to", $"usb:{temp.Of("stick")}", "--unsigned", "--deltas", "0", "--no-delta-from-nothing");
        string image = temp.Of("stick.img");
        using (var file = new FileStream(image, FileMode.Create))
            file.SetLength(64 << 20);
        Judge.OnPath("mkfs.vfat").Run(image);
        Judge.OnPath("mcopy").Run("-s", "-D", "a", "-i", image, $"{temp.Of("stick")}/.ostree", "::/");
        Judge.OnPath("fsck.vfat").Run("-n", image);
        Directory.CreateDirectory(temp.Of("back"));
        Judge.OnPath("mcopy").Run("-s", "-n", "-i", image, "::/.ostree", temp.Of("back"));
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={temp.Of("back")}/.ostree/repo"));
        Assert.Equal($"{two}", Judge.HostOstree.Run("rev-parse", $"--repo={temp.Of("back")}/.ostree/repo", TestBox.Ref).Trim());
    }

    [Fact]
    public void The_packages_of_two_versions_are_compared_by_the_program()
    {
        using (Repository repository = Repository.Open(box.Source))
        {
            foreach (string version in (string[])["5.2", "5.3"])
            {
                repository.CommitDirectory(temp.Of("stick"), new CommitOptions
                {
                    Branches = ["packages"], Metadata = VariantDictionary.Empty.With("sbox.packages", GVariant.Of([$"bash {version} amd64"])),
                });
            }
        }

        Assert.Contains("upgraded (1)\n  bash 5.2 -> 5.3\n", Sbox("diff", "--repo", box.Source, "packages"));
        JsonElement package = JsonDocument.Parse(Sbox("diff", "--repo", box.Source, "packages^", "packages", "--json")).RootElement.GetProperty("packages")[0];
        Assert.Equal(("bash", "upgraded", "5.2", "5.3"), (package.GetProperty("name").GetString(), package.GetProperty("change").GetString(), package.GetProperty("old").GetString(), package.GetProperty("new").GetString()));
    }

    private static Verdict Ask(params string[] arguments) => Judge.OnPath($"{RunningBox.Program}/sbox").Ask(arguments);

    private static string Sbox(params string[] arguments) => Judge.OnPath($"{RunningBox.Program}/sbox").Run(arguments);
}
