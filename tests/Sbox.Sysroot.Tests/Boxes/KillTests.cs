using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Judges;
using static Sbox.Sysroot.Tests.Afterwards;

namespace Sbox.Sysroot.Tests;

/// <summary>A program that deploys is killed by SIGKILL at any of its calls that change the disk, between and within steps; strace does it.</summary>
public sealed class KillTests : IDisposable
{
    private const int Kills = 12, Seed = 20261123;
    private const string Calls = "renameat2,linkat,symlinkat,unlinkat,mkdirat,fsync,syncfs,pwrite64,fchownat,fchmodat";
    private static readonly string Victim = Path.Combine(AppContext.BaseDirectory, "Sbox.Sysroot.Victim");

    private readonly TestBox box = new(inMemory: true);

    public void Dispose() => box.Dispose();

    [Fact]
    public void Killed_at_any_moment_of_an_upgrade_the_box_boots_and_the_next_upgrade_works()
    {
        (Checksum one, Checksum two, Checksum three) = (box.Publish(1), box.Publish(2, kernel: "second"), box.Publish(3, kernel: "third"));
        using (OstreeSysroot sysroot = box.Install())
        using (var deployer = new Deployer(sysroot, box.EspPath))
        {
            box.Deploy(deployer, one);
            box.Deploy(deployer, two);
            box.Fetch();
        }

        DeploymentName running = new(TestBox.Os, two, 0);
        List<(string Call, int At)> moments = Moments(running, three);
        var random = new Random(Seed);
        int killed = 0;
        for (int kill = 0; kill < Kills; kill++)
        {
            using var copy = new TempDir(inMemory: true);
            Copy(copy);
            (string call, int at) = moments[random.Next(moments.Count)];
            Verdict verdict = Judge.OnPath("strace").Ask(
                ["-f", "-qq", "-o", "/dev/null", "-e", $"inject={call}:signal=KILL:when={at}", Victim, "deploy", copy.Path, running.ToString(), three.ToString()]);
            killed += verdict.ExitCode == 0 ? 0 : 1;
            AssertWhole(copy.Path, $"{call} number {at}");
            Assert.Contains(Firmware(copy.Path), new[] { two, three });

            Judge.OnPath(Victim).Run("deploy", copy.Path, running.ToString(), three.ToString());
            using OstreeSysroot again = OstreeSysroot.Open($"{copy.Path}/sysroot", TestBox.Options());
            using var deployer = new Deployer(again, $"{copy.Path}/esp");
            Assert.Equal([three, two], again.Deployments.Select(each => each.Name.Commit));
            AssertFinished(copy.Path, again, deployer);
        }

        Assert.True(killed > Kills / 2, $"only {killed} of {Kills} kills hit a call");
    }

    private void Copy(TempDir to) => Judge.OnPath("cp").Run("-a", box.SysrootPath, box.EspPath, to.Path);

    /// <summary>Every call of an undisturbed run that changes the disk: its name, and its number among those of its name.</summary>
    private List<(string Call, int At)> Moments(DeploymentName running, Checksum commit)
    {
        using var copy = new TempDir(inMemory: true);
        Copy(copy);
        Judge.OnPath("strace").Run("-f", "-qq", "-o", copy.Of("trace"), "-e", $"trace={Calls}", Victim, "deploy", copy.Path, running.ToString(), commit.ToString());
        var counts = new Dictionary<string, int>();
        var moments = new List<(string, int)>();
        foreach (string line in File.ReadLines(copy.Of("trace")))
        {
            string call = line.Split(' ', 3, StringSplitOptions.RemoveEmptyEntries)[1].Split('(')[0];
            if (Calls.Split(',').Contains(call))
                moments.Add((call, counts[call] = counts.GetValueOrDefault(call) + 1));
        }

        return moments;
    }
}
