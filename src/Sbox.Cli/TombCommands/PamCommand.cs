using System.CommandLine;
using Sbox.Cli.Commands;
using Sbox.Cli.Help;
using Sbox.Linux;
using Sbox.Tomb.Sessions;

namespace Sbox.Cli.TombCommands;

/// <summary><c>sbox tomb pam</c>: what pam_exec runs at login and logout.</summary>
internal static class PamCommand
{
    private const string Settings = "/etc/sbox/tomb.toml";

    // login(1) gives up after 60 s, and an unreachable remote, or a session that hangs, does not answer for longer than that.
    private static readonly TimeSpan LoginLimit = TimeSpan.FromSeconds(20);

    public static Command Make()
    {
        Option<string> run = SessionCommands.RunDirectory();
        var command = new DocumentedCommand("pam", "Open a user's tomb at login and close it at logout; pam_exec runs this")
        {
            Details =
            [
                "The user and the moment come from PAM's environment, the password from its standard input (expose_authtok). A user who has no table in /etc/sbox/tomb.toml is let through without a word, "
                + "and so is one whose tomb cannot be opened: the login is not refused, and the home is then the one on this machine. It waits for 20 seconds at most.",
                "Where systemd runs, the tomb is sbox-tomb@USER.service, and is saved before the network goes when the machine shuts down. After the last logout it is saved and closed as soon as nothing uses the home any more. "
                + "A box has these lines in /etc/pam.d for login, sshd and display managers; packaging/tomb/pam.example shows them for others.",
            ],
        };
        command.Options.Add(run);
        command.SetAction((parsed, cancel) => Within(parsed.GetValue(run)!, cancel));
        return command;
    }

    private static async Task<int> Within(string run, CancellationToken cancel)
    {
        if (Environment.GetEnvironmentVariable("PATH") is null or "") // pam_exec passes none on, and ssh and setpriv are looked up
            Environment.SetEnvironmentVariable("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        if (Environment.GetEnvironmentVariable("PAM_USER") is not { Length: > 0 } user || user == "root" || !HasTable(user))
            return 0;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(LoginLimit);
        string? moment = Environment.GetEnvironmentVariable("PAM_TYPE");
        try
        {
            return await Do(moment, new SessionClient(run), user, run, limit.Token);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            Console.Error.WriteLine(moment == "auth"
                ? $"sbox: the tomb of {user} was not open after {LoginLimit.TotalSeconds:0} s; the login goes on without it. Later: sbox tomb open --user {user}"
                : $"sbox: the tomb of {user} did not answer within {LoginLimit.TotalSeconds:0} s. How it stands: sbox tomb status {user}");
            return 1;
        }
    }

    private static async Task<int> Do(string? moment, SessionClient client, string user, string run, CancellationToken cancel) => moment switch
    {
        "auth" => await Stays(client, user, cancel) ? 0 : await Open(client, user, run, cancel),
        "close_session" => await Leave(client, user, cancel),
        _ => 0,
    };

    private static bool HasTable(string user) => File.Exists(Settings) && File.ReadLines(Settings).Any(line => line.Trim() == $"[{user}]");

    private static async Task<bool> Stays(SessionClient client, string user, CancellationToken cancel)
    {
        if (!client.Names.Contains(user))
            return false;
        try
        {
            await client.Stay(user, cancel);
            return true;
        }
        catch (IOException)
        {
            return false; // its session is dead or ending: opening it again finds what it had
        }
    }

    private static async Task<int> Open(SessionClient client, string user, string run, CancellationToken cancel)
    {
        using SecretMemory password = FromPam();
        int ended = await Open(user, password, client, run, cancel);
        if (ended == 0)
            await KeepInTomb.TellLogins(user, OpenCommand.HomeOf(user));
        return ended;
    }

    private static async Task<int> Open(string user, SecretMemory password, SessionClient client, string run, CancellationToken cancel)
    {
        if (!TombService.IsThere(user) || run != SessionOptions.DefaultRunDirectory)
            return await OpenCommand.Leave(["tomb", "--tomb", $"@{user}", "--config", Settings, "open", "--user", user, "--name", user, "--run-directory", run], password, cancel);
        await TombService.Start(user, password, client, cancel);
        return 0;
    }

    // Other logins, and what a user left running, keep it open; it is saved and closed when the last of them ends.
    private static async Task<int> Leave(SessionClient client, string user, CancellationToken cancel)
    {
        if (!client.Names.Contains(user))
            return 0;
        try
        {
            await client.Leave(user, cancel);
        }
        catch (IOException refused)
        {
            Console.Error.WriteLine($"sbox: {refused.Message}");
        }

        return 0;
    }

    // pam_exec writes the password without a line feed, and some versions end it with a NUL.
    private static SecretMemory FromPam()
    {
        using var typed = new SecretMemory(4096);
        using FileStream input = File.OpenRead("/proc/self/fd/0");
        int length = 0;
        for (int read; length < typed.Span.Length && (read = input.Read(typed.Span[length..])) > 0;)
            length += read;
        int end = typed.Span[..length].IndexOfAny((byte)0, (byte)'\n');
        return new SecretMemory(typed.Span[..(end < 0 ? length : end)]);
    }
}
