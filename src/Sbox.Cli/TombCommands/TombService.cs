using System.Text.RegularExpressions;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;
using Sbox.Tomb;
using Sbox.Tomb.Sessions;

namespace Sbox.Cli.TombCommands;

/// <summary>
/// <c>sbox-tomb@USER.service</c>: starting it, and handing it a login's password. The password goes through a pipe of root's, which no file system
/// keeps; a credential in the unit's properties could be read by everyone on the bus.
/// </summary>
internal static partial class TombService
{
    private const string Login = "/run/sbox/login";
    private const uint Pipe = 0x1180; // a FIFO, 0600

    /// <summary>Whether the service manager runs and knows the unit.</summary>
    public static bool IsThere(string user) => Directory.Exists("/run/systemd/system") && Plain().IsMatch(user)
        && new[] { "/etc/systemd/system", "/usr/lib/systemd/system" }.Any(static where => File.Exists($"{where}/sbox-tomb@.service"));

    /// <summary>The file that is there while the helper of mount(8) waits to attach a user's home.</summary>
    public static string Attacher(string user) => $"{Login}/{user}.mount";

    /// <summary>Has a user's unit started, and attaches what it opens: this process may touch the place where an automount is being set off, and the unit may not.</summary>
    /// <exception cref="Finding">The unit failed.</exception>
    public static async Task StartAndAttach(string user, string home, CancellationToken cancel)
    {
        string unit = $"sbox-tomb@{user}.service", attach = $"{SessionOptions.DefaultRunDirectory}/{user}/{SessionOptions.HomeToAttach}";
        using (Dir root = Dir.Open("/"))
            root.MakeDirs(Login.TrimStart('/'), 0x1C0 /* 0700 */, parents: 0x1ED);
        File.WriteAllText(Attacher(user), "");
        try
        {
            ChildProcess.Run(new ChildCommand("systemctl", ["start", "--no-block", unit]), cancel: cancel);
            for (int tries = 0; MountTable.At(home) is not { Type: "overlay" }; tries++)
            {
                if (File.Exists(attach))
                    DetachedMount.AttachFrom(File.ReadAllText(attach), home);
                else if (tries % 20 == 19 && ChildProcess.Run(new ChildCommand("systemctl", ["is-active", "--quiet", unit]), cancel: cancel).ExitCode == 0 && MountTable.At(home) is not { Type: "overlay" })
                    throw new Finding($"{home}: the tomb is open, and was unmounted by hand", $"systemctl restart {unit}");
                else if (tries % 20 == 19 && ChildProcess.Run(new ChildCommand("systemctl", ["is-failed", "--quiet", unit]), cancel: cancel).ExitCode == 0)
                    throw new Finding($"{unit} did not start", $"What it says: journalctl -u {unit}");
                else
                    await Task.Delay(200, cancel);
            }
        }
        finally
        {
            File.Delete(Attacher(user));
        }
    }

    /// <summary>Starts a user's unit, and waits until the tomb is open.</summary>
    /// <param name="user">Whose.</param>
    /// <param name="password">What opens it.</param>
    /// <param name="client">Asks whether it is open.</param>
    /// <param name="cancel">Ends the waiting; the unit is stopped then, so that nothing is mounted over a home that is in use.</param>
    /// <exception cref="Finding">The unit failed.</exception>
    public static async Task Start(string user, SecretMemory password, SessionClient client, CancellationToken cancel)
    {
        string unit = $"sbox-tomb@{user}.service";
        try
        {
            for (int attempt = 1; ; attempt++)
            {
                ChildResult started = await Handing(user, password, () => ChildProcess.Run(new ChildCommand("systemctl", ["start", unit]), cancel: cancel));
                if (started.ExitCode != 0)
                    throw new Finding($"{unit} did not start{(started.LastLines is [var why, ..] ? $": {why}" : "")}", $"What it says: journalctl -u {unit}");
                if (await Answers(client, user, cancel))
                    return;
                // It was about to end: what was started is the same unit, ending.
                await Task.Delay(TimeSpan.FromMilliseconds(200 * Math.Min(attempt, 10)), cancel);
            }
        }
        catch (OperationCanceledException)
        {
            ChildProcess.Run(new ChildCommand("systemctl", ["stop", "--no-block", unit]), cancel: CancellationToken.None);
            throw;
        }
    }

    /// <summary>The password for the unit itself: of the login that waits, else its credential.</summary>
    /// <exception cref="Finding">There is neither.</exception>
    public static SecretMemory Password(string user)
    {
        string pipe = $"{Login}/{user}";
        if (File.Exists(pipe))
            return SecretFile.FirstLine(pipe);
        string? credential = Environment.GetEnvironmentVariable("CREDENTIALS_DIRECTORY") is { } directory ? $"{directory}/tomb-{user}" : null;
        return credential is not null && File.Exists(credential)
            ? TombSession.Checked(SecretFile.FirstLine(credential), credential)
            : throw new Finding($"no login waits for the tomb of {user}, and the service has no credential tomb-{user}", "docs/tomb-mount.md, \"By itself\", tells how a password is sealed to this machine");
    }

    /// <summary>Whether a user's tomb is open and its session alive.</summary>
    public static async Task<bool> Answers(SessionClient client, string user, CancellationToken cancel)
    {
        try
        {
            await client.Status(user, cancel);
            return true;
        }
        catch (IOException)
        {
            return false; // its session is dead: opening it again finds what it had
        }
    }

    private static async Task<T> Handing<T>(string user, SecretMemory password, Func<T> work)
    {
        using (Dir root = Dir.Open("/"))
            root.MakeDirs(Login.TrimStart('/'), 0x1C0 /* 0700 */, parents: 0x1ED);
        using Dir login = Dir.Open(Login);
        using FileLock alone = await Alone(login, user); // of two logins at once, the second would take the first one's pipe away
        login.TryUnlink(user);
        login.MakeNode(user, Pipe, 0);
        try
        {
            using SafeFileHandle both = login.OpenToWrite(user); // nobody has to read for it to open
            await using var pipe = new FileStream(both, FileAccess.Write, bufferSize: 0);
            pipe.Write(password.Span);
            pipe.Write("\n"u8);
            return await Task.Run(work);
        }
        finally
        {
            login.TryUnlink(user);
        }
    }

    private static async Task<FileLock> Alone(Dir login, string user)
    {
        while (true)
        {
            if (FileLock.TryTake(login, $".{user}.lock", mode: 0x180 /* 0600 */) is { } taken)
                return taken;
            await Task.Delay(50);
        }
    }

    [GeneratedRegex("^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    private static partial Regex Plain();
}
