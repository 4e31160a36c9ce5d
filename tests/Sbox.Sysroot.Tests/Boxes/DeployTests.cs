using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>What a deployment leaves behind, and whether real ostree reads it.</summary>
public sealed class DeployTests : IDisposable
{
    private readonly TestBox box = new();

    public void Dispose() => box.Dispose();

    public static TheoryData<string> Judges => new("host", "forky");

    private static Judge Ostree(string which) => which == "host" ? Judge.HostOstree : Judge.Ostree;

    [Theory, MemberData(nameof(Judges))]
    public void Real_ostree_reads_what_we_deployed(string judge)
    {
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2, kernel: "new kernel"));
        using InstalledBox installed = box.Installed(one, two);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        string status = Ostree(judge).Run("admin", "status", $"--sysroot={box.SysrootPath}");
        Assert.Matches($"(?s){TestBox.Os} {two}.0.*Version: 2.0.*origin refspec: origin:debian/trixie.*{TestBox.Os} {one}.0.*Version: 1.0", status);
        Ostree(judge).Run("fsck", $"--repo={box.SysrootPath}/ostree/repo");
    }

    [Theory, MemberData(nameof(Judges))]
    public void Real_ostree_deploys_on_a_sysroot_of_ours_and_we_read_and_continue_it(string judge)
    {
        (Checksum one, Checksum two, Checksum three) = (box.Publish(1), box.Publish(2), box.Publish(3, kernel: "third"));
        using InstalledBox installed = box.InstalledWithoutEsp(one);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        File.WriteAllText(box.Etc(sysroot.Deployments[0], "mine"), "kept");

        box.Fetch();
        Ostree(judge).Run("admin", "deploy", $"--sysroot={box.SysrootPath}", $"--os={TestBox.Os}", $"{TestBox.Remote}:{TestBox.Ref}");
        sysroot.Reload();
        Assert.Equal([three, one], sysroot.Deployments.Select(each => each.Name.Commit));
        Assert.Equal("kept", File.ReadAllText(box.Etc(sysroot.Deployments[0], "mine")));
        Assert.Equal("root=LABEL=sbox-root quiet", sysroot.Deployments[0].Arguments.ToString());

        box.Deploy(deployer, two);
        Assert.Equal([two, three], sysroot.Deployments.Select(each => each.Name.Commit));
        Assert.Equal("kept", File.ReadAllText(box.Etc(sysroot.Deployments[0], "mine")));
        Assert.Contains($"{TestBox.Os} {two}.0", Ostree(judge).Run("admin", "status", $"--sysroot={box.SysrootPath}"));
        Ostree(judge).Run("fsck", $"--repo={box.SysrootPath}/ostree/repo");
    }

    [Fact]
    public void A_file_that_its_owner_made_immutable_keeps_no_version_from_being_cleaned_away()
    {
        Checksum[] versions = [.. Enumerable.Range(1, 4).Select(number => box.Publish(number))];
        using InstalledBox installed = box.Installed(versions[0]);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        string file = box.Etc(sysroot.Deployments[0], "resolv.conf");
        File.WriteAllText(file, "nameserver 127.0.0.1\n");
        if (Judge.OnPath("chattr").Ask("+i", file).ExitCode != 0)
            Assert.Skip($"the file system of {file} knows no such flag");
        foreach (Checksum version in versions[1..])
        {
            box.Fetch(version);
            box.Deploy(deployer, version);
        }

        Assert.Equal([versions[3], versions[2]], sysroot.Deployments.Select(static each => each.Name.Commit));
        Assert.False(File.Exists(file));
    }

    [Fact]
    public void Real_ostree_gives_the_same_kernels_the_same_boot_checksum_entries_and_links()
    {
        Checksum one = box.Publish(1);
        using OstreeSysroot ours = box.Install();
        using var deployer = new Deployer(ours, espDirectory: null);
        box.Deploy(deployer, one);

        using var other = new TempDir();
        string theirs = other.Of("sysroot");
        Directory.CreateDirectory(theirs);
        Judge.HostOstree.Run("admin", "init-fs", "--modern", theirs);
        Judge.HostOstree.Run("admin", "os-init", $"--sysroot={theirs}", TestBox.Os);
        Judge.HostOstree.Run("pull-local", $"--repo={theirs}/ostree/repo", $"--remote={TestBox.Remote}", box.Source, TestBox.Ref);
        Judge.HostOstree.Run(
            "admin", "deploy", $"--sysroot={theirs}", $"--os={TestBox.Os}", "--karg=root=LABEL=sbox-root", "--karg=quiet", $"{TestBox.Remote}:{TestBox.Ref}");

        // All names, and what links lead to, but for what ours alone makes.
        IEnumerable<string> expected = Listing(theirs).Where(static line => !line.Contains(".ostree-selabeled", StringComparison.Ordinal)), made = Listing(box.SysrootPath)
            .Where(static line => !line.Contains(".ostree.cfs", StringComparison.Ordinal) && !line.Contains("/var/lib/sbox", StringComparison.Ordinal));
        Assert.Equal(expected, made);
        string entry = "boot/loader/entries/ostree-1-debian.conf";
        Assert.Equal(File.ReadAllText($"{theirs}/{entry}"), File.ReadAllText($"{box.SysrootPath}/{entry}"));
    }

    [Theory]
    [InlineData("usr/lib/modules/6.12.1/devicetree", "usr/lib/modules/6.12.1/dtb/not-used.dtb")]
    [InlineData("usr/lib/modules/6.12.1/dtb/z.dtb", "usr/lib/modules/6.12.1/dtb/a/b.dtb")]
    public void Device_trees_count_and_are_installed_as_by_real_ostree(string first, string second)
    {
        Checksum one = box.PublishWith(1, (first, "first"), (second, "second"));
        using InstalledBox installed = box.InstalledWithoutEsp(one);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        List<string> ours = Listing($"{box.SysrootPath}/boot/ostree");
        string entry = File.ReadAllText($"{box.SysrootPath}/boot/loader/entries/ostree-1-debian.conf");

        // Real ostree takes ours away and puts its own in place: the same commit with other arguments.
        Judge.HostOstree.Run("admin", "undeploy", $"--sysroot={box.SysrootPath}", "0");
        Assert.Empty(Listing($"{box.SysrootPath}/boot/ostree"));
        box.Fetch();
        Judge.HostOstree.Run(
            "admin", "deploy", $"--sysroot={box.SysrootPath}", $"--os={TestBox.Os}", "--karg=root=LABEL=sbox-root", "--karg=quiet", $"{TestBox.Remote}:{TestBox.Ref}");
        Assert.Equal(Listing($"{box.SysrootPath}/boot/ostree"), ours);
        string Field(string text, string key) => text.Split('\n').Single(line => line.StartsWith(key, StringComparison.Ordinal));
        string theirs = File.ReadAllText($"{box.SysrootPath}/boot/loader/entries/ostree-1-debian.conf");
        string tree = first.Contains("dtb/", StringComparison.Ordinal) ? "fdtdir" : "devicetree";
        Assert.Equal(Field(theirs, tree), Field(entry, tree));
    }

    [Theory, InlineData("etc/"), InlineData("usr/etc/kept")]
    public void A_tree_may_have_an_empty_etc_to_mount_on(string path)
    {
        Checksum one = box.PublishWith(1, (path, "x"));
        using InstalledBox installed = box.InstalledWithoutEsp(one);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        Assert.Equal("box\n", File.ReadAllText(box.Etc(sysroot.Deployments[0], "hostname")));
        Assert.Contains($"{TestBox.Os} {one}.0", Judge.Ostree.Run("admin", "status", $"--sysroot={box.SysrootPath}"));
    }

    [Fact]
    public void A_tree_with_both_an_etc_and_defaults_is_refused_and_leaves_what_is_deployed()
    {
        (Checksum one, Checksum two) = (box.Publish(1), box.PublishWith(2, ("etc/mine", "x")));
        using InstalledBox installed = box.Installed(one);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        Assert.Throws<SysrootDamagedException>(() => box.Deploy(deployer, two));
        Assert.Equal([one], sysroot.Deployments.Select(each => each.Name.Commit));
        deployer.Finish();
        Assert.Single(Directory.GetDirectories($"{box.SysrootPath}/ostree/deploy/debian/deploy"));
    }

    [Fact]
    public void We_read_what_real_ostree_deployed()
    {
        Checksum one = box.Publish(1);
        box.Install().Dispose();
        box.Fetch();
        Judge.HostOstree.Run("admin", "deploy", $"--sysroot={box.SysrootPath}", $"--os={TestBox.Os}", "--karg=root=LABEL=x", $"{TestBox.Remote}:{TestBox.Ref}");
        using OstreeSysroot sysroot = box.Open();
        Deployment deployment = Assert.Single(sysroot.Deployments);
        Assert.Equal(new DeploymentName(TestBox.Os, one, 0), deployment.Name);
        Assert.Equal("root=LABEL=x", deployment.Arguments.ToString());
        Assert.Equal(new Refspec(TestBox.Remote, TestBox.Ref), deployment.Origin?.Refspec);
        using Dir tree = sysroot.OpenDeployment(deployment);
        Assert.Equal(deployment.BootChecksum, KernelLayout.Find(tree).BootChecksum);
    }

    [Fact]
    public void The_owners_changes_to_etc_are_what_real_ostree_says_they_are()
    {
        Checksum one = box.Publish(1);
        using InstalledBox installed = box.InstalledWithoutEsp(one);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        Deployment deployment = sysroot.Deployments[0];
        File.WriteAllText(box.Etc(deployment, "hostname"), "other\n");
        File.Delete(box.Etc(deployment, "default/thing"));
        Directory.CreateDirectory(box.Etc(deployment, "mine.d/deep"));
        File.WriteAllText(box.Etc(deployment, "mine.d/deep/file"), "x");

        string theirs = Judge.HostOstree.Run("admin", "config-diff", $"--sysroot={box.SysrootPath}", $"--os={TestBox.Os}");
        Assert.Equal(
            theirs.Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal),
            sysroot.EtcChanges(deployment).Select(change => change.ToString()).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void An_upgrade_keeps_the_owners_etc_brings_new_defaults_and_keeps_the_version_that_runs()
    {
        (Checksum one, Checksum two, Checksum three) = (box.Publish(1), box.Publish(2), box.Publish(3));
        using OstreeSysroot first = box.Install();
        using (var deployer = new Deployer(first, box.EspPath))
            box.Deploy(deployer, one);
        File.WriteAllText(box.Etc(first.Deployments[0], "hostname"), "mine\n");

        using OstreeSysroot second = box.OpenBooted(first.Deployments[0]);
        using (var deployer = new Deployer(second, box.EspPath))
            box.Deploy(deployer, two);
        Assert.Equal("mine\n", File.ReadAllText(box.Etc(second.Deployments[0], "hostname")));
        Assert.Equal("from version 2\n", File.ReadAllText(box.Etc(second.Deployments[0], "default/thing")));
        Assert.Equal("from version 1\n", File.ReadAllText(box.Etc(second.Deployments[1], "default/thing")));
        Assert.Equal(one, second.Booted?.Name.Commit);

        // Version 2 was never booted: version 1 runs and stays, version 2 goes.
        using (var deployer = new Deployer(second, box.EspPath))
        {
            DeployResult result = box.Deploy(deployer, three);
            Assert.Equal([two], result.Cleanup.Deployments.Select(each => each.Commit));
        }

        Assert.Equal([three, one], second.Deployments.Select(each => each.Name.Commit));
        Assert.False(second.Repository.Has(new Store.ObjectName(two, Store.ObjectType.Commit)));
        Assert.True(second.Repository.Has(new Store.ObjectName(one, Store.ObjectType.Commit)));
        Judge.HostOstree.Run("fsck", $"--repo={box.SysrootPath}/ostree/repo");
    }

    [Fact]
    public void A_pinned_deployment_is_kept()
    {
        (Checksum one, Checksum two, Checksum three) = (box.Publish(1), box.Publish(2), box.Publish(3));
        using InstalledBox installed = box.Installed(one);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        Judge.HostOstree.Run("admin", "pin", $"--sysroot={box.SysrootPath}", "0");
        sysroot.Reload();
        Assert.True(sysroot.Deployments[0].IsPinned);
        box.Deploy(deployer, new DeployRequest(TestBox.Os, two));
        box.Deploy(deployer, new DeployRequest(TestBox.Os, three));
        Assert.Equal([three, two, one], sysroot.Deployments.Select(each => each.Name.Commit));
        Assert.Equal([false, false, true], sysroot.Deployments.Select(each => each.IsPinned));
    }

    [Fact]
    public void The_same_commit_again_gets_the_next_serial_and_shares_the_kernel()
    {
        Checksum one = box.Publish(1);
        using InstalledBox installed = box.Installed(one, one);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        Assert.Equal([1, 0], sysroot.Deployments.Select(each => each.Name.Serial));
        Assert.Equal([0, 1], sysroot.Deployments.Select(each => each.BootSerial));
        Assert.Single(Directory.GetDirectories($"{box.SysrootPath}/boot/ostree"));
        Assert.Contains($"{TestBox.Os} {one}.1", Judge.HostOstree.Run("admin", "status", $"--sysroot={box.SysrootPath}"));
    }

    [Fact]
    public void A_serial_that_a_left_over_kernel_image_names_is_not_given_again()
    {
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2));
        using InstalledBox installed = box.Installed(one, two);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        // Real ostree knows of no EFI partition: the UKI stays, and its command line is that of the deployment that is gone.
        Judge.HostOstree.Run("admin", "undeploy", $"--sysroot={box.SysrootPath}", "1");
        string left = $"{box.EspPath}/EFI/Linux/debian-{one.ToString()[..12]}.0.efi";
        string before = File.ReadAllText(left);
        box.Fetch(one);
        Assert.Equal(1, deployer.Plan(TestBox.Request(one)).Name.Serial);
        DeployResult result = deployer.Deploy(TestBox.Request(one) with { MoreArguments = KernelArguments.Parse("new=1") });
        Assert.Equal(1, result.Name.Serial);
        Assert.DoesNotContain("new=1", before);
        Assert.Contains(" new=1", File.ReadAllText($"{box.EspPath}/EFI/Linux/debian-{one.ToString()[..12]}.1.efi"));
    }

    [Fact]
    public void Where_kernel_arguments_and_version_stay_the_same_only_the_links_are_swapped()
    {
        Checksum one = box.Publish(1);
        using InstalledBox installed = box.Installed(one, one);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        BootVersion before = sysroot.BootVersion;
        DateTime entries = File.GetLastWriteTimeUtc($"{box.SysrootPath}/boot/loader/entries/ostree-2-debian.conf");
        deployer.Rollback();
        Assert.Equal(new BootVersion(before.Version, 1 - before.Subversion), sysroot.BootVersion);
        Assert.Equal([0, 1], sysroot.Deployments.Select(each => each.Name.Serial));
        Assert.Equal(entries, File.GetLastWriteTimeUtc($"{box.SysrootPath}/boot/loader/entries/ostree-2-debian.conf"));
    }

    [Fact]
    public void Recipe_arguments_change_with_the_recipe_and_the_owners_stay()
    {
        (Checksum one, Checksum two) = (box.Publish(1, kargs: ["quiet", "console=ttyS0"]), box.Publish(2, kargs: ["console=ttyS0", "loglevel=3"]));
        using OstreeSysroot sysroot = box.Install();
        using var deployer = new Deployer(sysroot, espDirectory: null);
        box.Deploy(deployer, TestBox.Request(one) with { MoreArguments = KernelArguments.Parse("mine=1") });
        Assert.Equal("root=LABEL=sbox-root quiet console=ttyS0 mine=1", sysroot.Deployments[0].Arguments.ToString());
        box.Deploy(deployer, two);
        Assert.Equal("root=LABEL=sbox-root console=ttyS0 mine=1 loglevel=3", sysroot.Deployments[0].Arguments.ToString());
    }

    [Fact]
    public void A_plan_says_what_will_be_done_and_changes_nothing()
    {
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2, etc: ("hostname", "newdefault\n")));
        using InstalledBox installed = box.Installed(one);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        File.WriteAllText(box.Etc(sysroot.Deployments[0], "hostname"), "mine\n");
        box.Fetch(two);
        List<string> before = [.. Listing(box.Path)];
        DeployPlan plan = deployer.Plan(TestBox.Request(two));
        Assert.Equal(before, Listing(box.Path));
        Assert.Equal(["hostname"], plan.Etc?.Conflicts);
        Assert.Equal([one], plan.Kept.Select(each => each.Commit));
        Assert.Contains("keep /etc/hostname\n        you and the new tree changed the same lines; yours is kept\n", plan.ToString());
        Assert.Equal(plan.Name, box.Deploy(deployer, two).Name);
    }

    [Fact]
    public void Two_changes_at_once_are_refused_as_real_ostree_refuses_them()
    {
        Checksum one = box.Publish(1);
        using OstreeSysroot sysroot = box.Install();
        using var deployer = new Deployer(sysroot, espDirectory: null);
        using (sysroot.Lock())
            Assert.Throws<SysrootBusyException>(() => box.Deploy(deployer, one));
        box.Deploy(deployer, one);
    }

    [Fact]
    public void Once_a_day_jobs_of_systemd_run_again_after_an_upgrade()
    {
        Checksum one = box.Publish(1);
        using InstalledBox installed = box.InstalledWithoutEsp(one);
        (OstreeSysroot sysroot, Deployer deployer) = installed;
        File.WriteAllText(box.Etc(sysroot.Deployments[0], ".updated"), "");
        File.WriteAllText($"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/var/.updated", "");
        box.Deploy(deployer, one);
        Assert.False(File.Exists(box.Etc(sysroot.Deployments[0], ".updated")));
        Assert.False(File.Exists($"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/var/.updated"));
    }

    /// <summary>Every name below a directory with its kind, mode, owner and what a link leads to; objects by their number only.</summary>
    private static List<string> Listing(string root)
    {
        var lines = new List<string>();
        void Walk(Dir dir, string path)
        {
            foreach (DirEntry entry in dir.Entries())
            {
                string full = $"{path}/{entry.Name}";
                FileStat stat = dir.Stat(entry.Name);
                if (full is "/ostree/repo" or "/ostree/lock")
                    continue;
                string mode = stat.IsSymlink || IsOurs(full) ? "" : Convert.ToString(stat.Permissions, 8);
                lines.Add($"{full} {stat.Kind} {mode} {stat.Uid}:{stat.Gid} {(stat.IsSymlink ? dir.ReadLink(entry.Name) : "")}");
                if (!stat.IsDirectory)
                    continue;
                using Dir inner = dir.OpenDir(entry.Name);
                Walk(inner, full);
            }
        }

        using Dir top = Dir.Open(root);
        Walk(top, "");
        return lines;
    }

    // libostree makes some directories of its own 0775 less the umask; which ones differs between its versions.
    private static bool IsOurs(string path) => path.StartsWith("/boot", StringComparison.Ordinal) || path.Count('/') <= 4;
}
