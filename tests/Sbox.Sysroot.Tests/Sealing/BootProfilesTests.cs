using Sbox.Judges;

namespace Sbox.Sysroot.Tests;

/// <summary>What the entries of the menu ask of the programs that come after sbox-root.</summary>
public sealed class BootProfilesTests : IDisposable
{
    private readonly TempDir temp = new();

    public void Dispose() => temp.Dispose();

    [Fact]
    public void Only_a_ghost_makes_no_swap_of_what_fstab_names()
    {
        foreach (SealProfile profile in BootProfiles.Standard)
        {
            string said = Generate($"quiet {profile.MoreArguments}", profile.Id);
            bool made = Directory.GetFiles(temp.Of(profile.Id), "*.swap", SearchOption.AllDirectories).Length > 0;
            if (profile.Id.StartsWith("ghost", StringComparison.Ordinal))
                Assert.True(!made && said.Contains("Swap unit generation disabled on kernel command line", StringComparison.Ordinal), said);
            else
                Assert.True(made || said.Contains("Running in a container, ignoring swap entry", StringComparison.Ordinal), said);
        }
    }

    // Debian's systemd judges. In a container it makes no swap units whatever it is told, so its words count; they go to stderr.
    private string Generate(string commandLine, string name)
    {
        temp.Write("fstab", "/dev/sbox-swap none swap sw 0 0\n");
        string output = Directory.CreateDirectory(temp.Of(name)).FullName;
        Verdict verdict = Judge.OnPath("env").Ask(
            [
                "SYSTEMD_LOG_LEVEL=debug", "SYSTEMD_LOG_TARGET=console", $"SYSTEMD_PROC_CMDLINE={commandLine}", $"SYSTEMD_FSTAB={temp.Of("fstab")}",
                .. Judge.Unpacked("usr/lib/systemd/system-generators/systemd-fstab-generator").Command, output, output, output,
            ]);
        Assert.True(verdict.ExitCode == 0, verdict.Error);
        return verdict.Error;
    }
}
