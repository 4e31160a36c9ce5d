using System.Text.Json;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>What sbox says of a box that runs, by the program itself on real file systems.</summary>
public sealed class StatusTests : IDisposable
{
    private readonly TestBox box = new();
    private readonly Checksum one, two;

    public StatusTests()
    {
        (one, two) = (box.Publish(1), box.Publish(2));
        box.Installed(one, two).Dispose();
    }

    public void Dispose() => box.Dispose();

    [Fact]
    public void After_a_power_cut_between_boot_entries_and_EFI_partition_it_names_what_the_firmware_boots()
    {
        Deployment second = Deployments()[0];
        Checksum three = box.Publish(3);
        box.Fetch(three);
        using (OstreeSysroot cut = box.OpenBooted(second, options => options with
        {
            BeforeStep = step =>
            {
                if (step.StartsWith($"write {box.EspPath}", StringComparison.Ordinal))
                    throw new IOException("the power is cut");
            },
        }))
        {
            using var deployer = new Deployer(cut, box.EspPath);
            Assert.Throws<IOException>(() => deployer.Deploy(TestBox.Request(three)));
        }

        Assert.Equal(three, Deployments()[0].Name.Commit); // what the boot entries alone would say
        using var machine = new RunningBox(box, second);
        JsonElement status = machine.Json("status");
        Assert.Equal((two.ToString(), two.ToString()), (Checksum(status, "booted"), Checksum(status, "next")));
        Assert.False(status.GetProperty("settled").GetBoolean());
        Assert.Contains("An upgrade was cut short", machine.Run("sbox status --esp=/run/esp"));
    }

    [Fact]
    public void A_box_that_is_settled_says_so()
    {
        using var machine = new RunningBox(box, Deployments()[1]);
        JsonElement status = machine.Json("status");
        Assert.True(status.GetProperty("settled").GetBoolean());
        Assert.Equal((one.ToString(), two.ToString()), (Checksum(status, "booted"), Checksum(status, "next")));
    }

    [Fact]
    public void Who_may_not_look_at_the_EFI_partition_is_told_that_it_is_not_known()
    {
        using var machine = new RunningBox(box, Deployments()[1]);
        JsonElement status = JsonDocument.Parse(machine.Run("nobody status --json")).RootElement;
        Assert.Equal(one.ToString(), Checksum(status, "booted"));
        Assert.Equal((JsonValueKind.Null, JsonValueKind.Null), (status.GetProperty("next").ValueKind, status.GetProperty("settled").ValueKind));
        string text = machine.Run("nobody status");
        Assert.Contains("What boots next is not known: only root may look at the EFI partition", text);
        Assert.DoesNotContain("boots next\n", text);
    }

    [Fact]
    public void Root_on_a_machine_without_an_EFI_partition_is_told_that_it_is_not_known()
    {
        using var machine = new RunningBox(box, Deployments()[1]);
        JsonElement status = JsonDocument.Parse(machine.Run("sbox status --json")).RootElement;
        Assert.Equal((one.ToString(), JsonValueKind.Null), (Checksum(status, "booted"), status.GetProperty("next").ValueKind));
        Assert.Contains("What boots next is not known: no EFI system partition", machine.Run("sbox status"));
    }

    [Fact]
    public void What_was_chosen_in_the_boot_menu_comes_before_loader_conf_until_sbox_chooses()
    {
        Deployment first = Deployments()[1];
        using var machine = new RunningBox(box, Deployments()[0]);
        machine.SetVariable("LoaderEntryDefault", UnifiedKernel.FileName(first.Name));
        machine.SetVariable("LoaderEntryOneShot", "memtest.efi"); // which is not there: systemd-boot goes on to the default
        JsonElement status = machine.Json("status");
        Assert.Equal((one.ToString(), JsonValueKind.Null), (Checksum(status, "next"), status.GetProperty("next-once").ValueKind));
        Assert.Contains("(LoaderEntryDefault), whatever loader.conf says", machine.Run("sbox status --esp=/run/esp"));

        // What boots when nobody chooses is version 1, so the other one is version 2.
        string said = machine.Run("sbox rollback --esp=/run/esp 2>&1");
        Assert.Contains("Version 2.0, which runs now, boots next", said);
        Assert.Contains($"LoaderEntryDefault said to boot '{UnifiedKernel.FileName(first.Name)}'; it is cleared", said);
        Assert.False(machine.HasVariable("LoaderEntryDefault"));
        Assert.Equal(two.ToString(), Checksum(machine.Json("status"), "next"));
    }

    [Fact]
    public void What_the_next_boot_alone_starts_is_told_apart()
    {
        Deployment first = Deployments()[1];
        using var machine = new RunningBox(box, Deployments()[0]);
        machine.SetVariable("LoaderEntryOneShot", UnifiedKernel.FileName(first.Name).ToUpperInvariant());
        JsonElement status = machine.Json("status");
        Assert.Equal((two.ToString(), one.ToString()), (Checksum(status, "next"), Checksum(status, "next-once")));
        Assert.Contains("The next boot only starts version 1.0 (LoaderEntryOneShot).", machine.Run("sbox status --esp=/run/esp"));
    }

    [Fact]
    public void An_upgrade_of_a_box_that_does_not_run_here_does_not_say_that_it_runs()
    {
        box.Fetch();
        Judge.HostOstree.Run("remote", "add", "--no-gpg-verify", $"--repo={box.SysrootPath}/ostree/repo", TestBox.Remote, $"file://{box.Source}");
        Verdict said = Judge.OnPath($"{RunningBox.Program}/sbox").Ask("upgrade", $"--sysroot={box.SysrootPath}", $"--esp={box.EspPath}");
        Assert.Equal($"{TestBox.Remote}:{TestBox.Ref}: version 2.0 is the newest, and is deployed\n", said.Output);
    }

    [Theory]
    [InlineData("status", "--no-such")]
    [InlineData("no-such-command", "")]
    public void A_wrong_command_line_is_one_JSON_object_too(string first, string second)
    {
        Verdict said = Judge.OnPath($"{RunningBox.Program}/sbox").Ask([first, "--json", .. second.Length > 0 ? [second] : Array.Empty<string>()]);
        JsonElement error = JsonDocument.Parse(said.Error).RootElement;
        Assert.Equal((2, "", "Usage"), (said.ExitCode, said.Output, error.GetProperty("kind").GetString()));
        Assert.Contains("nknown", error.GetProperty("error").GetString());
        Assert.Contains("--help", error.GetProperty("remedy").GetString());
    }

    private IReadOnlyList<Deployment> Deployments()
    {
        using OstreeSysroot sysroot = box.Open();
        return sysroot.Deployments;
    }

    private static string? Checksum(JsonElement status, string which) => status.GetProperty(which).GetProperty("checksum").GetString();
}
