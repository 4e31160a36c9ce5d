using System.Text.Json;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary><c>ostree admin</c> as people and scripts call it, beside real ostree, and on a machine that runs a box.</summary>
public sealed class AdminTests : IDisposable
{
    // The name that a program is called by is known to the published one alone.
    private static readonly string Published = SourceTree.Of("out", "ostree"), AsOstree = $"ostree() {{ {Published} \"$@\"; }}\n";
    private static readonly (string, string)[] SoftUnits = [("usr/lib/systemd/system/soft-reboot.target", "unit"), ("usr/lib/systemd/system/sbox-next-root.service", "unit")];
    private readonly TestBox box = new();

    public void Dispose() => box.Dispose();

    private static (string Output, string Error, int ExitCode) Ours(params string[] arguments)
    {
        Verdict verdict = Judge.OnPath(Published).Ask(arguments);
        return (verdict.Output, verdict.Error, verdict.ExitCode);
    }

    private static (string Output, string Error, int ExitCode) Theirs(params string[] arguments)
    {
        Verdict verdict = Judge.Ostree.Ask(arguments);
        return (verdict.Output, verdict.Error, verdict.ExitCode);
    }

    public static TheoryData<string> Questions => new(
        "prepare-soft-reboot 0", "prepare-soft-reboot 1", "prepare-soft-reboot 9", "prepare-soft-reboot x", "prepare-soft-reboot --reset", "state-overlay name /usr", "lock-finalization --unlock", "lock-finalization",
        "unlock --hotfix", "unlock --transient", "finalize-staged", "boot-complete", "instutil selinux-ensure-labeled", "instutil grub2-generate 3", "status", "upgrade --pull-only --reboot", "pin 9", "undeploy 9");

    [Theory, MemberData(nameof(Questions))]
    public void Where_nothing_runs_it_answers_as_real_ostree(string question)
    {
        box.InstalledWithoutEsp(box.Publish(1), box.Publish(2)).Dispose();
        string[] words = [.. question.Split(' '), $"--sysroot={box.SysrootPath}"];
        Assert.Equal(Theirs(["admin", .. words]), Ours(["admin", .. words]));
    }

    [Fact]
    public void GRUBs_menu_is_real_ostrees_byte_for_byte()
    {
        box.InstalledWithoutEsp(box.Publish(1), box.Publish(2, kernel: "another")).Dispose();
        string[] given = ["GRUB2_BOOT_DEVICE_ID=disk", "GRUB2_PREPARE_ROOT_CACHE=search --set=root"], asked = ["admin", "instutil", "grub2-generate", $"--sysroot={box.SysrootPath}"];
        string theirs = Judge.OnPath("env").Run([.. given, .. Judge.Ostree.Command, .. asked]);
        Assert.Contains("menuentry '", theirs);
        Assert.Equal(theirs, Judge.OnPath("env").Run([.. given, Published, .. asked]));
    }

    [Fact]
    public void The_next_soft_reboot_goes_where_it_was_told_and_the_status_says_so()
    {
        box.InstalledWithoutEsp(box.PublishWith(1, SoftUnits), box.PublishWith(2, SoftUnits)).Dispose();
        using var machine = new RunningBox(box, Deployments()[1]);
        string said = machine.Run(AsOstree + "ostree admin prepare-soft-reboot 0; cat /run/sbox-roots/next; ostree admin status; ostree admin status --json; ostree admin prepare-soft-reboot --reset; ls /run/sbox-roots");
        Assert.StartsWith($"{Deployments()[0].Name}\n", said);
        Assert.Contains($"{Deployments()[0].Name.Commit}.0 (pending) (soft-reboot)\n", said);
        Assert.Contains("\"soft-reboot-target\" : true", said.Replace("\": ", "\" : ", StringComparison.Ordinal));
        Assert.EndsWith("}\n", said);
    }

    [Fact]
    public void After_a_soft_reboot_the_other_version_is_the_one_that_runs()
    {
        box.Installed(box.PublishWith(1, SoftUnits), box.PublishWith(2, SoftUnits)).Dispose();
        Deployment went = Deployments()[0];
        using var machine = new RunningBox(box, Deployments()[1]);
        string there = $"mkdir /run/sbox-roots; echo {went.Name} > /run/sbox-roots/$(printf %x $(stat -c %d /)); echo {went.Name} > /run/sbox-roots/next\n";
        JsonElement status = JsonDocument.Parse(machine.Run(there + "sbox next-root at-boot; sbox status --esp=/run/esp --json")).RootElement;
        Assert.Equal(went.Name.ToString(), status.GetProperty("booted").GetProperty("deployment").GetString());
        Assert.Equal(["ostree-booted", "not there"], machine.Run(there + "sbox next-root at-boot; head -c 25 /run/ostree-booted | grep -q backing-root && echo ostree-booted; [ -e /run/sbox-roots/next ] || echo not there").Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public void Going_back_to_a_version_with_another_kernel_restarts_nothing_and_it_boots_next_all_the_same()
    {
        box.Installed(box.PublishWith(1, [.. SoftUnits, ("usr/lib/modules/6.12.1/vmlinuz", "another kernel")]), box.PublishWith(2, SoftUnits)).Dispose();
        Deployment first = Deployments()[1];
        using var machine = new RunningBox(box, Deployments()[0]);
        string said = machine.Run("systemctl() { echo restarted; }; export -f systemctl; sbox rollback --esp=/run/esp --soft-reboot 2>&1 || echo exit $?");
        Assert.Contains("it has another kernel\n  What is deployed stays so, and runs after a reboot of the machine", said);
        Assert.EndsWith("exit 1\n", said);
        Assert.Equal(first.Name, Deployments()[0].Name);
    }

    [Fact]
    public void A_directory_of_the_system_can_be_changed_and_another_version_brings_its_own_back()
    {
        box.InstalledWithoutEsp(box.Publish(1), box.Publish(2)).Dispose();
        (string one, string two) = (Deployments()[1].Name.ToString(), Deployments()[0].Name.ToString());
        using var machine = new RunningBox(box, Deployments()[1]);
        string said = machine.Run(AsOstree + $"""
            mkdir /run/opt /run/var; mount --bind /run/var /var; echo brought > /run/opt/file; mount --bind /run/opt /run/opt; mount -o remount,bind,ro /run/opt
            ostree admin state-overlay opt /run/opt
            echo changed > /run/opt/file; echo mine > /run/opt/mine; cat /run/opt/file; umount /run/opt
            ostree admin state-overlay opt /run/opt; cat /run/opt/file; umount /run/opt
            sed s,{one},{two}, /run/cmdline > /run/other; cat /run/other > /run/cmdline
            ostree admin state-overlay opt /run/opt; cat /run/opt/file /run/opt/mine
            """);
        Assert.Equal("changed\nchanged\nbrought\nmine\n", said);
    }

    private IReadOnlyList<Deployment> Deployments()
    {
        using OstreeSysroot sysroot = box.Open();
        return sysroot.Deployments;
    }
}
