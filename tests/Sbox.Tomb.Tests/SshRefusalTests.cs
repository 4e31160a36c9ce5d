using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Tomb.Tests;

/// <summary>What ssh itself refuses is said once, with the way out, and is not tried again and again; real ssh and sshd.</summary>
public sealed class SshRefusalTests : IDisposable
{
    private readonly Place place = new();
    private readonly SshServer server;

    public SshRefusalTests()
    {
        server = new SshServer(place);
        Directory.CreateDirectory(place["config/sbox"]);
    }

    public void Dispose()
    {
        server.Dispose();
        place.Dispose();
    }

    [Theory]
    [InlineData("unknown", "nobody has said yet that the host's key is its own", "Once by hand")]
    [InlineData("changed", "the host's key is not the one that is known of it", "ssh-keygen -R 127.0.0.1")]
    [InlineData("denied", "Permission denied (", "has to work by itself")]
    [InlineData("nowhere", "Could not resolve hostname", "Look at --tomb again")]
    public void What_does_not_pass_by_itself_is_tried_once_and_said_once(string what, string finding, string way)
    {
        Configure(what);
        (int code, string output, string error) = Run(what, "snapshots");
        Assert.True(code == 1, $"{code}\n{output}{error}");
        Assert.Equal(2, error.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.Contains(finding, error, StringComparison.Ordinal);
        Assert.Contains(way, error, StringComparison.Ordinal);
        Assert.Single(File.ReadAllLines(place["tries"]));
    }

    [Fact]
    public void What_may_pass_is_tried_again_without_a_word()
    {
        Configure("fine");
        Script.Write(place["once"], $"""
            [ -e {place["tried"]} ] || {"{"} touch {place["tried"]}; echo 'ssh: connect to host: Connection refused' >&2; exit 255; {"}"}
            exec {place["ssh"]} "$@"
            """);
        File.WriteAllText(place["config/sbox/tomb.toml"], $"ssh-command = [\"{place["once"]}\"]\n");
        (int code, string output, string error) = Run("fine", "create");
        Assert.True(code == 0, $"{code}\n{output}{error}");
        Assert.Equal("", error);
    }

    [Fact]
    public void On_a_terminal_ssh_asks_there_and_is_not_asked_to_ask_again()
    {
        Configure("unknown", batch: false);
        File.WriteAllText(place["typed"], $"""
            export XDG_STATE_HOME={place["state"]} XDG_CACHE_HOME={place["cache"]} XDG_CONFIG_HOME={place["config"]}
            {TestedProgram.Sbox} tomb --tomb {Url("unknown")} --password-file {place.PasswordFile} snapshots
            """);
        // Said again each second: what is there before the question is thrown away by whoever asks.
        string drawn = Judge.OnPath("sh").Ask(place.Path, null, ["-c", $"while sleep 1; do echo no || break; done 2>/dev/null | timeout 300 script -qc 'sh {place["typed"]}' /dev/null"]).Output;
        Assert.Contains("Are you sure you want to continue connecting", drawn, StringComparison.Ordinal);
        Assert.Contains("nobody has said yet that the host's key is its own", drawn, StringComparison.Ordinal);
        Assert.Equal(2, File.ReadAllLines(place["tries"]).Length);
    }

    private void Configure(string what, bool batch = true)
    {
        List<string> words = [.. server.Words];
        words.RemoveRange(words.IndexOf("BatchMode=yes") - 1, 6); // and what has ssh take any key
        if (batch)
            words.AddRange(["-o", "BatchMode=yes"]);
        string known = place["known hosts"].Replace(" ", "-", StringComparison.Ordinal);
        if (what != "unknown")
        {
            string key = File.ReadAllText(place[what == "changed" ? "key.pub" : "host key.pub"]).Split(' ')[1];
            File.WriteAllText(known, $"[127.0.0.1]:{words[2]} ssh-ed25519 {key}\n");
        }

        words.AddRange(["-o", $"UserKnownHostsFile={known}", "-o", "GlobalKnownHostsFile=/dev/null"]);
        if (what == "denied")
            File.WriteAllText(place["authorized"], "");
        string call = what == "nowhere" // what ssh says where DNS answers, and knows no such name; it may not answer here
            ? "echo 'ssh: Could not resolve hostname no-such-host.invalid: Name or service not known' >&2; exit 255"
            : $"exec {string.Join(' ', words.Select(static word => $"'{word}'"))} \"$@\"";
        Script.Write(place["ssh"], $"echo x >> {place["tries"]}\n{call}");
        File.WriteAllText(place["config/sbox/tomb.toml"], $"ssh-command = [\"{place["ssh"]}\"]\n");
    }

    private string Url(string what) => $"sftp:root@{(what == "nowhere" ? "no-such-host.invalid" : "127.0.0.1")}:{place.TombPath}";

    private (int Code, string Output, string Error) Run(string what, string command) => SboxProgram.Run(place, "tomb", "--tomb", Url(what), "--password-file", place.PasswordFile, command);
}
