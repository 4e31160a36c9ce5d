using System.Text.Json;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>sbox verify and sbox prove, by the program itself: answers, exit codes, receipts. A sealed machine's answers are in Sbox.Tour.Tests.</summary>
public sealed class ProveAndVerifyTests : IDisposable
{
    private static readonly string[] Facts = ["firmware", "kernel", "command-line", "uki", "root", "mounts", "modules", "etc", "disk", "approval"];
    private readonly TestBox box = new();
    private readonly Checksum one;

    public ProveAndVerifyTests()
    {
        one = box.Publish(1);
        box.Installed(one).Dispose();
    }

    public void Dispose() => box.Dispose();

    [Fact]
    public void Verify_says_by_its_exit_code_whether_all_is_whole_unchecked_or_wrong()
    {
        Assert.Equal((3, "unchecked"), Verify());
        Assert.Equal((0, "ok"), Verify("--deep"));
        using (Repository repository = Repository.Open($"{box.SysrootPath}/ostree/repo"))
        {
            string id = repository.Find(one, "/usr/bin/version").Content!.Value.ToString();
            File.AppendAllText($"{box.SysrootPath}/ostree/repo/objects/{id[..2]}/{id[2..]}.file", "!");
        }

        Assert.Equal((1, "wrong"), Verify("--deep", "--full-speed"));
        Verdict said = Ask("verify", "--deep", $"--sysroot={box.SysrootPath}");
        Assert.Contains($"that is /usr/bin/version of debian/{one.ToString()[..12]}.0", said.Output, StringComparison.Ordinal);
        Assert.Contains("Nothing was changed.", said.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Verify_of_no_box_says_what_to_name()
    {
        Verdict said = Ask("verify", $"--sysroot={box.Path}");
        Assert.Equal(1, said.ExitCode);
        Assert.Contains("no ostree/deploy: this machine is no box", said.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Where_the_file_system_cannot_verity_says_so_and_changes_nothing_and_so_does_status()
    {
        using var memory = new TestBox(inMemory: true); // tmpfs has no fs-verity
        memory.Installed(memory.Publish(1)).Dispose();
        Verdict said = Ask("verity", $"--sysroot={memory.SysrootPath}", "--json");
        Assert.Equal((3, "{\"supported\":false,\"sealed\":0,\"sealed-before\":0}\n"), (said.ExitCode, said.Output));
        JsonElement status = JsonDocument.Parse(Ask("status", $"--sysroot={memory.SysrootPath}", "--json").Output).RootElement.GetProperty("verity");
        Assert.False(status.GetProperty("supported").GetBoolean());
        Assert.Equal(0, status.GetProperty("sealed").GetInt64());
        Assert.True(status.GetProperty("files").GetInt64() > 5);
        Assert.Contains("fs-verity: the file system, or the kernel, has no fs-verity: no file can be sealed", Ask("status", $"--sysroot={memory.SysrootPath}").Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Prove_tells_every_fact_in_the_order_of_a_boot_and_what_it_cannot_see_is_unchecked()
    {
        using var machine = new RunningBox(box, Deployment());
        string answer = machine.Run("sbox prove --esp=/run/esp --json || echo \"exit $?\"");
        string[] lines = answer.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("exit 1", lines[^1]); // the machine of this test is no sealed box, and says so
        JsonElement proof = JsonDocument.Parse(lines[0]).RootElement;
        Assert.Equal(Facts, proof.GetProperty("facts").EnumerateArray().Select(static fact => fact.GetProperty("name").GetString()));
        Assert.Equal($"debian/{one}.0", proof.GetProperty("deployment").GetString());
        Assert.Equal("unchecked", Word(proof, "firmware"));
        Assert.Equal("unchecked", Word(proof, "approval"));
        Assert.Equal("wrong", Word(proof, "root")); // its /usr is the host's
    }

    [Fact]
    public void A_receipt_is_checked_elsewhere_and_a_changed_one_is_refused()
    {
        using var machine = new RunningBox(box, Deployment());
        string receipt = $"{box.Path}/receipt.json";
        machine.Run($"sbox prove --esp=/run/esp --receipt={receipt} --nonce=0badcafe --machine-key={box.Path}/machine.key >/dev/null || true");
        string text = File.ReadAllText(receipt);
        string key = JsonDocument.Parse(text).RootElement.GetProperty("receipt").GetProperty("machine").GetString()!;

        JsonElement reading = JsonDocument.Parse(Ask("prove", $"--check={receipt}", $"--key={key}", "--nonce=0BADCAFE", "--json").Output).RootElement;
        Assert.Equal(["ok", "ok", "ok", "unchecked"], reading.GetProperty("checks").EnumerateArray().Select(static check => check.GetProperty("verdict").GetString()));
        Assert.Equal(Facts, reading.GetProperty("facts").EnumerateArray().Select(static fact => fact.GetProperty("name").GetString()));

        File.WriteAllText(receipt, text.Replace("\"verdict\":\"wrong\"", "\"verdict\":\"ok\"", StringComparison.Ordinal));
        Verdict lied = Ask("prove", $"--check={receipt}", $"--key={key}", "--nonce=0badcafe");
        Assert.Equal(1, lied.ExitCode);
        Assert.Contains("the machine's key did not sign this: it was changed", lied.Output, StringComparison.Ordinal);
        File.WriteAllText(receipt, "{}");
        Assert.Contains("A receipt is what sbox prove --receipt=FILE writes", Ask("prove", $"--check={receipt}").Error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_nonce_that_is_none_is_refused_before_anything_is_done() =>
        Assert.Contains("two digits each", Ask("prove", "--nonce=xyz").Error, StringComparison.Ordinal);

    private static string? Word(JsonElement proof, string name) =>
        proof.GetProperty("facts").EnumerateArray().First(fact => fact.GetProperty("name").GetString() == name).GetProperty("verdict").GetString();

    private static Verdict Ask(params string[] arguments) => Judge.OnPath($"{RunningBox.Program}/sbox").Ask(arguments);

    private (int ExitCode, string? Verdict) Verify(params string[] more)
    {
        Verdict said = Ask(["verify", $"--sysroot={box.SysrootPath}", "--json", .. more]);
        return (said.ExitCode, JsonDocument.Parse(said.Output).RootElement.GetProperty("verdict").GetString());
    }

    private Deployment Deployment()
    {
        using OstreeSysroot sysroot = box.Open();
        return sysroot.Deployments[0];
    }
}
