using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>
/// The power fails while a box writes, saves, folds, forgets and prunes a tomb on its disk, with what is not saved in a scratch directory beside it. All that the box writes to
/// that disk is recorded; each cut is a moment of the record, and of what no flush covers then every sector is there or not.
/// </summary>
[Collection("machine")]
public sealed class TombPowerCutTests(ITestOutputHelper output)
{
    private const long DiskSize = 512L << 20;
    private const string Password = "correct horse";
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12), Limit = TimeSpan.FromMinutes(5);

    // What the guest does, round after round. Its writer lists the digests of all files before each save; what it has synced by hand counts without one.
    private const string Work = """
        #!/bin/bash
        tomb='sbox tomb --tomb /mnt/tomb --password-file /root/password'
        open="$tomb open --at /mnt/home --scratch /mnt/scratch --save-every 0"
        $open && cd /mnt/home || exit
        for ((n = 1; n <= $1; n++)); do
          for ((i = 0; i < 6; i++)); do head -c $((RANDOM * 6)) /dev/urandom > f$((RANDOM % 30)); done
          head -c $((RANDOM * 120)) /dev/urandom > large
          mkdir -p d$((n % 5)); mv f$((RANDOM % 30)) d$((n % 5))/ 2> /dev/null
          find . -type f ! -name manifest -print0 | sort -z | xargs -0 sha256sum > /tmp/manifest; cp /tmp/manifest manifest
          [ $((n % 4)) = 0 ] && { cd /; sbox tomb close > /dev/null; printf '\nFORGET begins\n'; $tomb forget --keep-last 5 --prune > /dev/null && printf '\nPRUNED %s\n' "$n"; $open > /dev/null; cd /mnt/home; }
          sbox tomb save --json | sed -n 's/.*"snapshot":"\([0-9a-f]*\)".*/\nSAVED \1/p'
          printf '%s' "$n" > synced && sync synced && printf '\nSYNCED %s\n' "$n"
          [ $((n % 3)) = 0 ] && { cd /; sbox tomb fold > /dev/null && printf '\nFOLDED %s\n' "$n"; cd /mnt/home; }
        done
        printf '\nWORK over\n'
        """;

    private readonly Tools tools = new(SourceTree.Root);

    private static int Number(string variable, int otherwise) => Environment.GetEnvironmentVariable(variable) is { } told ? int.Parse(told, CultureInfo.InvariantCulture) : otherwise;

    [Fact(Explicit = true), Trait("Category", "Slow")]
    public void Whenever_the_power_fails_the_tomb_is_whole_and_has_all_that_was_saved_and_the_scratch_directory_all_that_was_synced()
    {
        int cuts = Number("SBOX_TOMB_CUTS", 200), seed = Number("SBOX_SEED", Random.Shared.Next());
        output.WriteLine($"SBOX_SEED={seed}");
        DemoImage image = DemoImage.Ensure(tools, Judge.Cache);
        string directory = image.FreshMachine("tomb-cuts");
        Directory.CreateDirectory(directory);
        File.WriteAllText(Path.Combine(directory, "password"), Password);
        string empty = Path.Combine(directory, "empty.img"), disk = Path.Combine(directory, "disk.img");
        using (FileStream made = File.Create(empty))
            made.SetLength(DiskSize);
        ChildProcess.Run(new ChildCommand("mkfs.ext4", ["-q", "-F", empty]));
        File.Copy(empty, disk);

        List<Moment> moments;
        string writes = Path.Combine(directory, "disk.log");
        using (var recorded = new RecordedDisk(disk, writes))
            moments = Record(TombMachine.Options(tools, image, directory) with { MoreArguments = ["-drive", recorded.Drive] }, recorded.Log, rounds: Math.Clamp(cuts / 4, 8, 24));

        using DiskLog log = DiskLog.Open(writes);
        output.WriteLine($"{log.Count} requests, {log.Requests.Count(static each => each.IsFlush)} of them flushes; {moments.Count(static each => each.What == "SAVED")} saves, {moments.Count(static each => each.What == "FOLDED")} folds");
        Assert.Contains(moments, static each => each.What == "FOLDED");
        Assert.Contains(moments, static each => each.What == "PRUNED");
        var random = new Random(seed);
        int first = moments[0].At; // the tomb is there
        for (int cut = 0; cut < cuts; cut++)
            Cut(directory, cut, log, moments, random.Next(first, log.Count), random);
    }

    // What the guest said, and how much it had asked of its disk by then.
    private sealed record Moment(string What, string Word, int At);

    private List<Moment> Record(VmOptions options, DiskLog disk, int rounds)
    {
        var moments = new List<Moment>();
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options);
        vm.WaitForLogin(BootLimit);
        vm.Run($"mount /dev/vdb /mnt && mkdir -p /mnt/home /mnt/scratch && echo '{Password}' > /root/password", Limit).OrThrow();
        vm.Run("sbox tomb --tomb /mnt/tomb --password-file /root/password create", Limit).OrThrow();
        vm.Run($"cat > /tmp/work <<'END'\n{Work}\nEND", Limit).OrThrow();
        moments.Add(new Moment("OPEN", "", disk.Count));
        vm.Console.SendLine($"bash /tmp/work {rounds}");
        while (moments[^1].What != "WORK")
        {
            Match said = vm.Console.WaitFor(@"^(SAVED|SYNCED|FORGET|PRUNED|FOLDED|WORK) (\S+)\r?\n", Limit);
            moments.Add(new Moment(said.Groups[1].Value, said.Groups[2].Value, disk.Count));
        }

        return moments;
    }

    private void Cut(string directory, int number, DiskLog log, List<Moment> moments, int at, Random random)
    {
        // A file of its own each time: what was mounted of the one before may live on for a moment, and write.
        string image = Path.Combine(directory, $"cut{number}.img"), mounted = Path.Combine(directory, $"mounted{number}");
        ChildProcess.Run(new ChildCommand("cp", ["--sparse=always", Path.Combine(directory, "empty.img"), image]));
        double kept = random.NextDouble();
        using (FileStream stream = File.Open(image, FileMode.Open))
            log.Replay(stream, at, () => random.NextDouble() < kept);
        Directory.CreateDirectory(mounted);
        Judge.OnPath("mount").Run("-o", "loop", image, mounted);
        try
        {
            List<string> saved = SavedBefore(moments, at);
            string synced = moments.LastOrDefault(each => each.What == "SYNCED" && each.At <= at)?.Word ?? "0";
            string[] tomb = ["-r", $"{mounted}/tomb", "--password-file", Path.Combine(directory, "password"), "--no-cache", "--no-lock"];
            Judge.Restic.Run([.. tomb, "check", "--read-data"]);
            string[] there = [.. JsonDocument.Parse(Judge.Restic.Run([.. tomb, "snapshots", "--json"])).RootElement.EnumerateArray().Select(static each => each.GetProperty("id").GetString()!)];
            Assert.True(!saved.Except(there).Any(), $"cut {number} at {at} of {log.Count}: {string.Join(' ', saved.Except(there))} must be there; there are {string.Join(' ', there)}");
            foreach (string id in saved.TakeLast(1))
                HasAllThatWasWritten(tomb, id, Path.Combine(directory, "restored"));
            int found = Reopened(directory, mounted);
            Assert.True(found >= int.Parse(synced, CultureInfo.InvariantCulture), $"{synced} was synced, and {found} is there");
            output.WriteLine($"cut at {at}: {there.Length} snapshots, {saved.Count} of them must be there; synced {synced}, found {found}");
        }
        finally
        {
            Mounts.Detach(mounted);
            File.Delete(image);
        }
    }

    // Finished saves, less those that a forget which had begun by then may have taken.
    private static List<string> SavedBefore(List<Moment> moments, int at)
    {
        var saved = new List<string>();
        for (int each = 0; each < moments.Count; each++)
        {
            // It was said that forgetting begins some time before it begins: from the moment before that on it may have. Closing and folding save too, without a word.
            if (moments[each].What == "FORGET" && moments[each - 1].At <= at)
                saved = [.. saved.TakeLast(2)];
            else if (moments[each].What == "SAVED" && moments[each].At <= at)
                saved.Add(moments[each].Word);
        }

        return saved;
    }

    private static void HasAllThatWasWritten(string[] tomb, string id, string restored)
    {
        if (Directory.Exists(restored))
            Directory.Delete(restored, recursive: true);
        Judge.Restic.Run([.. tomb, "restore", id, "--target", restored]);
        string home = $"{restored}/mnt/home";
        var lines = new List<string>();
        ChildResult checkedAll = ChildProcess.Run(new ChildCommand("sh", ["-c", "sha256sum --quiet -c manifest && [ $(find -type f ! -name manifest -printf x | wc -c) = $(wc -l < manifest) ]"]) { WorkingDirectory = home }, lines.Add);
        Assert.True(checkedAll.ExitCode == 0, $"{id}: {string.Join('\n', lines)}");
    }

    // The next opening, on the machine that the disk was carried to: what was synced and not saved is there.
    private int Reopened(string directory, string mounted)
    {
        string at = Path.Combine(directory, "at"), run = Path.Combine(directory, "run"), sbox = Path.Combine(SourceTree.Root, "out", "sbox");
        Directory.CreateDirectory(at);
        Judge program = Judge.OnPath(sbox);
        string[] tomb = ["tomb", "--tomb", $"{mounted}/tomb", "--password-file", Path.Combine(directory, "password")];
        program.Run([.. tomb, "unlock", "--all"]);
        // As it was opened on the box: what is in the scratch directory belongs to that place in the snapshots.
        program.Run([.. tomb, "open", "--at", at, "--name", "home", "--scratch", $"{mounted}/scratch", "--save-every", "0", "--run-directory", run]);
        try
        {
            return File.Exists($"{at}/synced") ? int.Parse("0" + File.ReadAllText($"{at}/synced"), CultureInfo.InvariantCulture) : 0;
        }
        finally
        {
            program.Run("tomb", "slam", "home", "--run-directory", run);
        }
    }
}
