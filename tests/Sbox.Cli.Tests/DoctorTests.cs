using System.Text.Json;
using System.Text.RegularExpressions;
using Sbox.Cli.Commands;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>What sbox doctor says and does, by the program itself.</summary>
public sealed class DoctorTests : IDisposable
{
    private readonly TestBox box = new() { RealStub = true };
    private readonly Deployment first;

    public DoctorTests()
    {
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2));
        using OstreeSysroot sysroot = OstreeSysroot.Init(box.SysrootPath);
        sysroot.InitStateroot(TestBox.Os);
        Judge.HostOstree.Run("remote", "add", $"--repo={box.SysrootPath}/ostree/repo", "--no-gpg-verify", TestBox.Remote, "http://127.0.0.1:1");
        using var deployer = new Deployer(sysroot, box.EspPath);
        box.Deploy(deployer, one);
        box.Deploy(deployer, two);
        first = sysroot.Deployments[0];
    }

    public void Dispose() => box.Dispose();

    [Fact]
    public void On_a_running_box_it_looks_mends_what_it_showed_and_status_works_again()
    {
        using var machine = new RunningBox(box, first);
        string Findings(string command) => machine.Run($"{command} || true");
        // The clock of whoever runs this may be before the day on which the trees were made.
        string[] Names(string command) => [.. Findings(command).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => JsonDocument.Parse(line).RootElement)
            .Where(static line => line.TryGetProperty("grade", out JsonElement grade) && grade.GetString() != "note").Select(static line => line.GetProperty("finding").GetString()!).Where(static name => name != "clock")];

        Assert.Empty(Names("sbox doctor --esp=/run/esp --json"));
        File.Delete($"{box.SysrootPath}/boot/loader");
        Directory.Delete($"{box.EspPath}/EFI/BOOT", recursive: true);
        Assert.Equal(["loader-link", "loader-missing"], Names("sbox doctor --esp=/run/esp --json").Order(StringComparer.Ordinal));
        Assert.Equal("left\n", machine.Run("sbox doctor --esp=/run/esp --fix </dev/null >/dev/null 2>&1 && echo done || echo left"));
        Assert.False(File.Exists($"{box.SysrootPath}/boot/loader"));
        string mended = Findings("sbox doctor --esp=/run/esp --fix --yes 2>&1");
        Assert.Contains("What would be done, in this order:\n", mended);
        Assert.Contains("make the boot entries anew, for the versions that are there ...\n", mended);
        Assert.Empty(Names("sbox doctor --esp=/run/esp --json"));
        Assert.Contains("runs now", machine.Run("sbox status --esp=/run/esp"));
        Assert.Contains("Deleted", machine.Run("sbox doctor --drop-aside --yes"));
    }

    [Fact]
    public void Who_may_not_look_everywhere_is_told_where_and_mends_nothing()
    {
        Directory.CreateDirectory($"{box.EspPath}/EFI/Linux");
        File.WriteAllText($"{box.EspPath}/EFI/Linux/.half.efi.tmp", "");
        using var machine = new RunningBox(box, first);
        string[] Findings(string closed, string options = "") => [.. machine.Run($$"""
            mkdir -p /run/box/esp /run/box/root; mount --bind {{box.SysrootPath}} /run/box/root; mount --bind {{box.EspPath}} /run/box/esp
            chmod 700 {{closed}}
            nobody doctor --sysroot=/run/box/root --esp=/run/box/esp --json {{options}} 2>&1 || echo "{\"finding\":\"exit $?\"}"
            chmod 755 {{closed}}
            """).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => JsonDocument.Parse(line).RootElement)
            .Select(static line => !line.TryGetProperty("finding", out JsonElement name) ? $"{line}" : $"{name.GetString()} {(line.TryGetProperty("fixable", out JsonElement fixable) && fixable.GetBoolean() ? "fixable" : "")}".Trim())];

        foreach (string closed in (string[])["/run/box/esp/EFI/Linux", "/run/box/root/ostree/repo", "/run/box/root/ostree/repo/refs/heads"])
        {
            string[] found = Findings(closed, "--fix --yes");
            Assert.Contains("unseen", found);
            Assert.Contains("exit 3", found);
            Assert.DoesNotContain(found, static each => each.EndsWith("fixable", StringComparison.Ordinal));
            Assert.True(File.Exists($"{box.EspPath}/EFI/Linux/.half.efi.tmp"));
        }

        // What is deployed is needed for all the rest.
        Assert.Contains("This needs root: sudo sbox ...", string.Concat(Findings("/run/box/root/ostree/deploy/debian/deploy")));
    }

    [Fact]
    public void The_manual_page_lists_every_finding_that_there_is()
    {
        string code = string.Concat(Directory.GetFiles(SourceTree.Of("src", "Sbox.Sysroot", "Doctor")).Select(File.ReadAllText));
        string[] named = [.. Regex.Matches(code, "DoctorFinding\\(\\s*(?:whole|image is null|variable == \"LoaderEntryDefault\")?[ ?]*\"([a-z-]+)\"(?: : \"([a-z-]+)\")?").SelectMany(static match => match.Groups.Values.Skip(1)).Where(static group => group.Success).Select(static group => group.Value).Distinct().Order(StringComparer.Ordinal)];
        Assert.Equal(named, DoctorCommand.Names.Order(StringComparer.Ordinal));
    }
}
