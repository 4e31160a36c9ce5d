using Sbox.Codecs;

namespace Sbox.Sysroot.Tests;

/// <summary>A reset takes what it shows, all of it, and nothing that runs.</summary>
public sealed class BoxResetTests : IDisposable
{
    private readonly TestBox box = new(inMemory: true);
    private readonly Checksum two;
    private readonly OstreeSysroot booted;

    public BoxResetTests()
    {
        Checksum one = box.Publish(1, etc: [("app.conf", "a\n")]);
        two = box.Publish(2, etc: [("app.conf", "b\n")]);
        using (InstalledBox installed = box.Installed(one))
            booted = box.OpenBooted(installed.Sysroot.Deployments[0]);
        File.WriteAllText(box.Etc(booted.Booted!, "app.conf"), "mine\n");
    }

    public void Dispose()
    {
        booted.Dispose();
        box.Dispose();
    }

    [Fact]
    public void A_second_reset_before_the_reboot_is_refused_and_what_runs_keeps_its_directories()
    {
        BoxReset.Plan(booted, var: false, etc: true).Execute(booted);
        string running = Directory.GetFiles($"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/.sbox-reset", "app.conf", SearchOption.AllDirectories).Single();
        BoxReset second = BoxReset.Plan(booted, var: true, etc: false);
        Assert.Contains("Reboot first", Assert.Throws<ResetRefusedException>(() => second.Execute(booted)).Message);
        Assert.Equal("mine\n", File.ReadAllText(running));
    }

    [Theory, InlineData(true, false), InlineData(false, true)]
    public void What_lists_of_what_stays_had_kept_is_forgotten_with_it(bool var, bool etc)
    {
        string record = $"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/.sbox-kept";
        File.WriteAllText(record, "");
        BoxReset.Plan(booted, var, etc).Execute(booted);
        Assert.False(File.Exists(record));
    }

    [Fact]
    public void The_changes_of_every_version_are_shown_and_the_copies_that_merges_kept_go_with_them()
    {
        Upgrade();
        string backing = $"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/backing";
        Assert.NotEmpty(Directory.GetFiles(backing, "record", SearchOption.AllDirectories));
        BoxReset plan = BoxReset.Plan(booted, var: false, etc: true);
        Assert.Equal(booted.Deployments.Select(static each => each.Name), plan.EtcChanges.Where(static each => each.Change.Path == "app.conf").Select(static each => each.Deployment));
        plan.Execute(booted);
        Assert.Empty(Directory.GetFiles(backing, "*", SearchOption.AllDirectories));
        Assert.Empty(new EtcKeeper(booted).Open());
        Assert.Equal(["b\n", "a\n"], booted.Deployments.Select(each => File.ReadAllText(box.Etc(each, "app.conf"))));
    }

    [Fact]
    public void A_reset_of_what_was_not_shown_is_refused()
    {
        BoxReset plan = BoxReset.Plan(booted, var: false, etc: true);
        Upgrade();
        Assert.Throws<ResetRefusedException>(() => plan.Execute(booted));
        plan = BoxReset.Plan(booted, var: false, etc: true);
        File.WriteAllText(box.Etc(booted.Booted!, "later.conf"), "mine\n");
        Assert.Throws<ResetRefusedException>(() => plan.Execute(booted));
        Assert.Equal("mine\n", File.ReadAllText(box.Etc(booted.Booted!, "app.conf")));
    }

    [Fact]
    public void A_damaged_commit_leaves_a_line_without_a_version_and_no_error()
    {
        string id = $"{booted.Booted!.Name.Commit}", commit = $"{box.SysrootPath}/ostree/repo/objects/{id[..2]}/{id[2..]}.commit";
        File.Delete(commit);
        File.WriteAllBytes(commit, [1, 2, 3]);
        BoxHistory.Add(booted, "pin", booted.Booted.Name);
        HistoryEntry last = BoxHistory.Read(booted, TestBox.Os)[^1];
        Assert.Equal(("pin", (string?)null), (last.What, last.Version));
    }

    [Fact]
    public void An_undeploy_that_was_cut_before_it_was_done_is_not_in_the_history_and_one_that_was_done_is_with_its_version()
    {
        Upgrade();
        using (OstreeSysroot failing = box.OpenBooted(booted.Booted!, static options => options with { BeforeStep = static _ => throw new IOException("no room") }))
        using (var deployer = new Deployer(failing, box.EspPath))
            Assert.ThrowsAny<Exception>(() => deployer.Undeploy(failing.Deployments[0].Name));
        Assert.DoesNotContain(BoxHistory.Read(booted, TestBox.Os), static each => each.What == "undeploy");
        using (var deployer = new Deployer(booted, box.EspPath))
            deployer.Undeploy(booted.Deployments[0].Name);
        Assert.Equal(("undeploy", "2.0"), (BoxHistory.Read(booted, TestBox.Os)[^1].What, BoxHistory.Read(booted, TestBox.Os)[^1].Version));
    }

    private void Upgrade()
    {
        using var deployer = new Deployer(booted, box.EspPath);
        box.Deploy(deployer, two);
    }
}
