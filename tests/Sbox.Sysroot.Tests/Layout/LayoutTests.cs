using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>What small files and names mean, and what is said of damaged ones.</summary>
public sealed class LayoutTests : IDisposable
{
    private readonly TempDir temp = new();

    public void Dispose() => temp.Dispose();

    [Fact]
    public void A_new_sysroot_has_what_ostree_admin_init_fs_and_os_init_make()
    {
        OstreeSysroot.Init(temp.Of("sysroot")).InitStateroot("debian");
        string theirs = temp.Of("theirs");
        Directory.CreateDirectory(theirs);
        Judges.Judge.HostOstree.Run("admin", "init-fs", "--modern", theirs);
        Judges.Judge.HostOstree.Run("admin", "os-init", $"--sysroot={theirs}", "debian");
        // The directory for deployments is made with the first one there, and with the stateroot here.
        Assert.Equal(Names(theirs).Append("ostree/deploy/debian/deploy").Order(StringComparer.Ordinal), Names(temp.Of("sysroot")));
        Assert.Equal(File.ReadAllText($"{theirs}/ostree/repo/config").Trim(), temp.Read("sysroot/ostree/repo/config").Trim());
        using Dir var = temp.Open("sysroot/ostree/deploy/debian/var");
        Assert.Equal((0x3FFu, "../run", "../run/lock"), (var.Stat("tmp").Permissions, var.ReadLink("run"), var.ReadLink("lock")));
    }

    [Theory, InlineData(""), InlineData("a/b"), InlineData(".."), InlineData("-x"), InlineData("a b"), InlineData("a*")]
    public void A_name_that_would_be_unsafe_somewhere_is_no_stateroots(string name)
    {
        using OstreeSysroot sysroot = OstreeSysroot.Init(temp.Of("sysroot"));
        Assert.Equal(name, Assert.Throws<StaterootNameException>(() => sysroot.InitStateroot(name)).Name);
    }

    [Fact]
    public void A_directory_that_is_no_sysroot_is_said_to_be_none() =>
        Assert.Equal(temp.Path, Assert.Throws<SysrootDamagedException>(() => OstreeSysroot.Open(temp.Path)).Path);

    [Theory]
    [InlineData("boot/loader", "loader.2", "leads to 'loader.2', neither loader.0 nor loader.1")]
    [InlineData("ostree/boot.0", "boot.1.0", "leads to 'boot.1.0', neither boot.0.0 nor boot.0.1")]
    public void A_link_that_leads_elsewhere_is_damage_with_its_path(string link, string target, string finding)
    {
        OstreeSysroot.Init(temp.Of("sysroot")).Dispose();
        File.CreateSymbolicLink(temp.Of($"sysroot/{link}"), target);
        SysrootDamagedException damage = Assert.Throws<SysrootDamagedException>(() => OstreeSysroot.Open(temp.Of("sysroot")));
        Assert.Equal($"{temp.Of("sysroot")}/{link}: {finding}", damage.Message);
    }

    [Theory]
    [InlineData("title x\nversion 1\n", "has no ostree= among its options")]
    [InlineData("title x\nversion 1\noptions ostree=/boot/x\n", "ostree=/boot/x is not /ostree/boot.VERSION/OS/CHECKSUM/SERIAL")]
    public void An_entry_that_leads_nowhere_is_damage(string entry, string finding)
    {
        OstreeSysroot.Init(temp.Of("sysroot")).Dispose();
        temp.Write("sysroot/boot/loader.0/entries/ostree-1-debian.conf", entry);
        Assert.EndsWith(finding, Assert.Throws<SysrootDamagedException>(() => OstreeSysroot.Open(temp.Of("sysroot"))).Message);
    }

    [Fact]
    public void Entries_of_others_are_no_concern_of_ours()
    {
        OstreeSysroot.Init(temp.Of("sysroot")).Dispose();
        temp.Write("sysroot/boot/loader.0/entries/memtest.conf", "title x\nversion 1\n");
        using OstreeSysroot sysroot = OstreeSysroot.Open(temp.Of("sysroot"));
        Assert.Empty(sysroot.Deployments);
    }

    [Theory]
    [InlineData("origin:debian/trixie", "origin", "debian/trixie")]
    [InlineData("debian/trixie", null, "debian/trixie")]
    public void A_refspec_reads_as_written(string text, string? remote, string branch)
    {
        Assert.Equal(new Refspec(remote, branch), Refspec.Parse(text));
        Assert.Equal(text, Refspec.Parse(text).ToString());
    }

    [Theory, InlineData(""), InlineData(":x"), InlineData("origin:")]
    public void A_refspec_without_its_parts_is_malformed(string text) => Assert.Throws<MalformedException>(() => Refspec.Parse(text));

    [Fact]
    public void A_successors_origin_is_neither_pinned_nor_unlocked_and_keeps_what_it_does_not_know()
    {
        Origin origin = Origin.Parse("[origin]\nrefspec=origin:x\nunlocked=hotfix\nfuture=1\n\n[libostree-transient]\npinned=true\n");
        Assert.True(origin.IsPinned);
        Assert.Equal("hotfix", origin.Unlocked);
        Assert.Equal("[origin]\nrefspec=origin:x\nfuture=1\n", origin.ForSuccessor().ToString());
    }

    [Fact]
    public void An_os_release_reads_quotes_as_a_shell_does_and_writes_them_back()
    {
        OsRelease release = OsRelease.Parse("# comment\nID=debian\nPRETTY_NAME=\"A \\\"B\\\" \\$C\"\nNAME='single $x'\n\nVERSION_ID=13\n");
        Assert.Equal(("debian", "A \"B\" $C", "single $x"), (release["ID"], release.PrettyName, release["NAME"]));
        Assert.Equal(release.Fields, OsRelease.Parse(release.ToString()).Fields);
    }

    [Fact]
    public void Versions_are_ordered_by_their_numbers() =>
        Assert.Equal(["1", "2", "6.1.0", "6.12.2", "6.12.10", "10"], new[] { "10", "6.12.10", "2", "6.1.0", "1", "6.12.2" }.Order(VersionOrder.Comparer));

    [Fact]
    public void A_default_in_loader_conf_is_replaced_and_other_lines_stay()
    {
        var conf = new LoaderConf("timeout 5\ndefault  old.efi\n#default x\ndefaults y\n");
        Assert.Equal("old.efi", conf.Default);
        Assert.Equal("timeout 5\n#default x\ndefaults y\ndefault new.efi\n", conf.WithDefault("new.efi").Text);
        Assert.Null(LoaderConf.Fresh.Default);
    }

    [Fact]
    public void A_tree_without_a_kernel_cannot_boot_and_the_newest_of_several_counts()
    {
        using (Dir root = temp.Open())
            Assert.Throws<NoKernelException>(() => KernelLayout.Find(root));
        foreach (string version in (string[])["6.12.9", "6.12.10"])
            temp.Write($"usr/lib/modules/{version}/vmlinuz", version);
        Directory.CreateDirectory(temp.Of("usr/lib/modules/9.9"));
        using Dir tree = temp.Open();
        KernelLayout kernel = KernelLayout.Find(tree);
        Assert.Equal(("6.12.10", (string?)null, Checksum.Of("6.12.10"u8)), (kernel.Version, kernel.Initrd, kernel.BootChecksum));
    }

    private static List<string> Names(string root) =>
        [.. Directory.EnumerateFileSystemEntries(root, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(root, path)).Order(StringComparer.Ordinal)];
}
