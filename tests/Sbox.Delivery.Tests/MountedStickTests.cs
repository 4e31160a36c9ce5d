using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;

namespace Sbox.Delivery.Tests;

/// <summary>What is on something mounted is found there, and by nobody whose keys do not fit; and what is published to a stick that fills up, or pulled out, can be gone on with.</summary>
public sealed class MountedStickTests
{
    private const string Collection = "org.example.Os";

    [Fact]
    public void Remotes_are_found_on_what_is_mounted_and_pulled_from_there_where_the_keys_fit()
    {
        using var shop = new Workshop();
        shop.Repository.WriteConfig(shop.Repository.Config.With("core", "collection-id", Collection));
        using Repository source = Repository.Open(shop["repo"]);
        using var gpg = new GpgHome(shop["gpg"]);
        using var stranger = new GpgHome(shop["gpg-of-another"]);
        File.WriteAllText(shop["tree/usr/version"], "1");
        string commit = Judge.HostOstree.Run("commit", $"--repo={shop["repo"]}", "-b", Workshop.Branch, $"--gpg-homedir={shop["gpg"]}", $"--gpg-sign={GpgHome.Owner}", shop["tree"]).Trim();
        source.WriteSummary();
        string reader = Reader("reader", gpg), other = Reader("other", stranger);
        string said = OnStick(shop, reader).Output;
        Assert.Contains("file:///mnt/stick/.ostree/repo", said);
        Assert.Contains("OstreeRepoFinderMount", said);
        Assert.Equal(commit, Judge.HostOstree.Run("rev-parse", $"--repo={reader}", $"origin:{Workshop.Branch}").Trim());
        Judge.HostOstree.Run("fsck", $"--repo={reader}");

        Verdict unbelieved = OnStick(shop, other);
        Assert.Contains("file:///mnt/stick/.ostree/repo", unbelieved.Output);
        Assert.Equal(1, unbelieved.ExitCode);
        Assert.Contains("must be signed by GPG with a key of the remote", unbelieved.Error);
        Assert.Empty(Judge.HostOstree.Run("refs", $"--repo={other}").Trim());

        string Reader(string name, GpgHome keys)
        {
            Judge.HostOstree.Run("init", $"--repo={shop[name]}", "--mode=archive");
            Judge.HostOstree.Run("remote", $"--repo={shop[name]}", "add", $"--collection-id={Collection}", $"--gpg-import={keys.Export(shop[$"{name}.gpg"])}", "origin", "http://nowhere.invalid");
            return shop[name];
        }
    }

    [Fact]
    public void A_stick_that_fills_up_keeps_the_version_that_was_on_it_and_takes_the_next_that_fits()
    {
        using var shop = new Workshop();
        Checksum old = shop.Commit();
        Directory.CreateDirectory(shop["stick"]);
        Judge.OnPath("truncate").Run("-s", "24M", shop["stick.img"]);
        Judge.OnPath("mkfs.ext4").Run("-q", "-m", "0", shop["stick.img"]);
        Judge.OnPath("mount").Run("-o", "loop", shop["stick.img"], shop["stick"]);
        try
        {
            Assert.Equal(0, Publish().ExitCode);
            Assert.Equal(old, OnTheStick());
            File.WriteAllBytes(shop["tree/usr/lib/too-much"], System.Security.Cryptography.RandomNumberGenerator.GetBytes(40_000_000));
            shop.Commit();
            Verdict full = Publish();
            Assert.Equal(1, full.ExitCode);
            Assert.Contains(shop["stick"], full.Error);
            Assert.Contains("No space left", full.Error, StringComparison.OrdinalIgnoreCase);
            Assert.Equal(old, OnTheStick());

            File.Delete(shop["tree/usr/lib/too-much"]);
            Checksum fits = shop.Commit();
            Assert.Equal(0, Publish().ExitCode);
            Assert.Equal(fits, OnTheStick());
        }
        finally
        {
            Unmounting.Unmount(shop["stick"], shop["stick.img"]); // e2fsck reads it
        }

        Judge.OnPath("e2fsck").Run("-fn", shop["stick.img"]);

        // No deltas: whether they fit is not what is looked at.
        Verdict Publish() => Judge.OnPath("env").Ask(
            TestedProgram.Sbox, "publish", "--repo", shop["repo"], "--to", $"usb:{shop["stick"]}", "--sign-from-file", shop["secret"], "--deltas", "0", "--no-delta-from-nothing");

        Checksum OnTheStick()
        {
            string repository = Directory.EnumerateDirectories(shop["stick"], "repo", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = 0, IgnoreInaccessible = true }).First();
            string reader = shop[$"reader-{Guid.NewGuid():N}"];
            Judge.HostOstree.Run("init", $"--repo={reader}", "--mode=archive");
            Judge.HostOstree.Run("remote", $"--repo={reader}", "add", "--no-gpg-verify", "origin", $"file://{repository}");
            return Workshop.Pull(reader);
        }
    }

    // In a namespace of mounts of its own, so that no other test finds it.
    private static Verdict OnStick(Workshop shop, string reader) => Judge.OnPath("unshare").Ask(
        "--mount", "sh", "-ec",
        "mount -t tmpfs none /mnt; mkdir -p /mnt/stick; mount -t tmpfs none /mnt/stick; mkdir -p /mnt/stick/.ostree; cp -a \"$1\" /mnt/stick/.ostree/repo\n"
        + "exec \"$2\" store find-remotes --repo=\"$3\" --finders=mount --pull org.example.Os os/main",
        "sh", shop["repo"], TestedProgram.Sbox, reader);

    [Fact]
    public void The_keys_that_sign_are_listed_without_what_is_secret_of_them()
    {
        using var shop = new Workshop();
        var sbox = Judge.OnPath("env");
        string private1 = shop["one.key"];
        sbox.Run(TestedProgram.Sbox, "keys", "create", private1);
        string listed = sbox.Run(TestedProgram.Sbox, "keys", "list", private1, shop["one.pub"]), key = File.ReadAllText(shop["one.pub"]).Trim();
        string[] lines = listed.Trim().Split('\n');
        Assert.Equal(2, lines.Length);
        Assert.Contains("private", lines[0]);
        Assert.Contains("public", lines[1]);
        Assert.All(lines, line => Assert.Contains(key, line));
        string secret = File.ReadAllText(private1).Trim();
        Assert.DoesNotContain(secret, listed);
        string json = sbox.Run(TestedProgram.Sbox, "keys", "list", private1, "--json");
        Assert.Contains("\"private\":true", json);
        Assert.Contains($"\"key\":\"{key}\"", json);
        Assert.DoesNotContain(secret, json);

        Verdict none = sbox.Ask(TestedProgram.Sbox, "keys", "list", shop["none"]);
        Assert.NotEqual(0, none.ExitCode);
        Assert.Contains($"{shop["none"]}: ", none.Error);
    }
}
