using System.CommandLine;
using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Sbox.Cli.Commands;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Tomb;
using Sbox.Tomb.Sessions;

namespace Sbox.Cli.TombCommands;

/// <summary><c>sbox tomb open</c>: mounts a tomb, and leaves a process behind that serves it.</summary>
internal static class OpenCommand
{
    private static readonly Option<string?> At = new("--at") { Description = "Where it is seen: a directory. The user's home where --user is given", HelpName = "DIR" };
    private static readonly Option<string?> Name = new("--name") { Description = "What it is called while it is open; the last part of --at where it is not said", HelpName = "NAME" };
    private static readonly Option<string?> User = new("--user") { Description = "Open it at this user's home, and let this user save and close it", HelpName = "USER" };
    private static readonly Option<string?> Wanted = new("--snapshot") { Description = "The snapshot to open, by the beginning of its id; the newest of the place where it is seen, where it is not said", HelpName = "ID" };
    private const string UsualMemory = "50%";
    private static readonly Option<string?> Scratch = new("--scratch") { Description = "A directory that keeps what is not saved yet, on a disk that is encrypted; memory where it is not said", HelpName = "DIR" };
    private static readonly Option<string> Memory = new("--memory") { Description = "How much memory what is not saved may take: 2g, 50%", HelpName = "SIZE", DefaultValueFactory = static _ => UsualMemory };
    private static readonly Option<int> SaveEvery = new("--save-every") { Description = "Save by itself every so many minutes; 0 for never", HelpName = "MINUTES", DefaultValueFactory = static _ => 10 };
    private static readonly Option<int> SaveWhenQuiet = new("--save-when-quiet") { Description = "Save as soon as nothing was written for so many seconds; 0 for never, as with --save-every 0", HelpName = "SECONDS", DefaultValueFactory = static _ => 60 };
    private static readonly Option<string?> HooksAs = new("--hooks-as") { Description = "Follow the hooks inside the tomb as this user, who owns its top; without --user they are followed only so", HelpName = "USER" };
    private static readonly Option<bool> NoHooks = new("--no-hooks") { Description = "Do not follow the hooks inside the tomb, although --user is given" };
    private static readonly Option<string?> SlamWithout = new("--slam-without") { Description = "Slam the tomb as soon as this is gone: the device of a stick or a token (/dev/disk/by-id/…), or fido2 for the token that is plugged in", HelpName = "PATH" };
    private static readonly Option<bool> Foreground = new("--foreground") { Description = "Serve the tomb from this process, as a systemd service does" };
    private static readonly Option<bool> Unit = new("--unit") { Description = "Serve the tomb from this process; its password comes from the login that waits for it, else from the service's credential tomb-NAME. sbox-tomb@.service does this" };
    private static readonly Option<bool> Serve = new("--serve") { Hidden = true };
    private static readonly Option<string> Run = SessionCommands.RunDirectory();

    public static Command Make()
    {
        Command command = new DocumentedCommand("open", "Open a tomb: its newest snapshot becomes a home that can be written")
        {
            Details =
            [
                "The tomb is seen at once, however large it is: names come from its snapshot, and contents are fetched, decrypted and verified when they are read. "
                + "What is written stays in memory (or in --scratch) until it is saved: when nobody wrote for a minute, every ten minutes, by sbox tomb save, before the machine sleeps, and when it is closed. "
                + "A power cut takes what was not saved, unless --scratch names a directory on a disk; fsync promises no more than that.",
                "This needs root, for mounting. A tomb whose session was killed is opened by the same command again, and what was not saved is found.",
            ],
            Examples =
            [
                new Example("A home", "sbox tomb --tomb sftp:me@host:/srv/tomb open --user me"),
                new Example("Only while the token is plugged in", "sbox tomb --tomb @me open --user me --fido2 ~/.config/sbox/token --slam-without fido2"),
                new Example("Beside the home", "sbox tomb --tomb /media/stick/tomb open --at /home/me/tomb"),
            ],
        }.With(At, Name, User, Wanted, Scratch, Memory, SaveEvery, SaveWhenQuiet, HooksAs, NoHooks, SlamWithout, Foreground, Unit, Serve, Run);
        command.SetAction((parsed, cancel) => parsed.GetValue(Serve) || parsed.GetValue(Foreground) || parsed.GetValue(Unit) ? ServeHere(parsed, cancel) : Leave(parsed, cancel));
        return command;
    }

    private static SessionOptions Options(ParseResult parsed)
    {
        HookOwner? user = parsed.GetValue(User) is { } person ? Account(person) : null;
        HookOwner? hooks = parsed.GetValue(NoHooks) ? null : parsed.GetValue(HooksAs) is { } follower ? Account(follower) : user;
        if (hooks is { Uid: 0 } && parsed.GetValue(HooksAs) is not null)
            throw new Finding("hooks are not followed for root", "--hooks-as USER: whoever owns the tomb");
        string at = parsed.GetValue(At) is { } named ? Path.GetFullPath(named)
            : user?.Home
            ?? throw new Finding("no place is named where the tomb is seen", "--at DIR, or --user USER for that user's home");
        if (at.Length > 1)
            at = at.TrimEnd('/');
        string name = parsed.GetValue(Name) ?? Path.GetFileName(at);
        if (name.Length == 0 || name.Contains('/', StringComparison.Ordinal) || name.StartsWith('.'))
            throw new Finding($"'{name}' is no name for an open tomb", "--name NAME: a word without '/'");
        return new SessionOptions
        {
            Name = name, MountPoint = Real(parsed, name, at), Place = at, RunDirectory = parsed.GetValue(Run)!, Scratch = parsed.GetValue(Scratch) is { } scratch ? Path.GetFullPath(scratch) : null,
            MemoryLimit = parsed.GetValue(Memory)!, Snapshot = parsed.GetValue(Wanted), SaveEvery = TimeSpan.FromMinutes(parsed.GetValue(SaveEvery)),
            SaveWhenQuietFor = TimeSpan.FromSeconds(parsed.GetValue(SaveEvery) == 0 ? 0 : parsed.GetValue(SaveWhenQuiet)), Hooks = hooks is null or { Uid: 0 } ? null : hooks with { Home = Real(parsed, name, hooks.Home) },
            ProgramVersion = $"sbox {ProgramVersion.Text}", Owner = user?.Uid, OwnerGroup = user?.Gid ?? 0,
        };
    }

    private static string? Watched(ParseResult parsed, TombSession opened)
    {
        string? path = parsed.GetValue(SlamWithout) ?? opened.Settings.SlamWithout;
        if (path == "fido2")
            path = TokenPassword.Of(parsed, opened.Speaker).Device();
        return path is null || Path.Exists(path) ? path : throw new Finding($"{path}: it is not there, and without it the tomb is not to be open", "Plug it in; or name another with --slam-without");
    }

    // Under an automount that is being set off, whoever so much as looks at the place itself waits for what is opened here.
    private static string Real(ParseResult parsed, string name, string path) => parsed.GetValue(Unit) && File.Exists(TombService.Attacher(name)) && Path.GetDirectoryName(path) is { } parent
        ? Path.Combine(RealPath.Of(parent), Path.GetFileName(path)) : RealPath.Of(path);

    private static HookOwner Account(string user)
    {
        string[] fields = File.ReadLines("/etc/passwd").Select(static line => line.Split(':')).FirstOrDefault(fields => fields.Length >= 7 && fields[0] == user)
            ?? throw new Finding($"there is no user '{user}'", "--at DIR names the place itself");
        return new HookOwner(user, uint.Parse(fields[2], CultureInfo.InvariantCulture), uint.Parse(fields[3], CultureInfo.InvariantCulture), fields[5].TrimEnd('/'));
    }

    /// <summary>Where an account's home is, as /etc/passwd has it.</summary>
    public static string HomeOf(string user) => Account(user).Home;

    // What the command line does not say, the settings do. What is kept on a disk is as safe as that disk.
    private static SessionOptions Settled(SessionOptions options, ParseResult parsed, TombSession opened)
    {
        string? scratch = options.Scratch ?? (opened.Settings.Scratch is { } named ? Path.GetFullPath(Path.Combine(named, options.Name)) : null);
        if (scratch is not null && ScratchDisk.Finding(RealPath.Of(scratch)) is { } finding)
            opened.Speaker.Note($"{scratch}: {finding}");
        bool said = parsed.GetResult(Memory) is { Implicit: false };
        return options with { Scratch = scratch, MemoryLimit = said ? options.MemoryLimit : opened.Settings.Memory ?? options.MemoryLimit };
    }

    private static async Task<int> ServeHere(ParseResult parsed, CancellationToken cancel)
    {
        SessionOptions options = Options(parsed);
        if (!Environment.IsPrivilegedProcess)
            throw new Finding("only root may mount", "sudo sbox tomb open …");
        if (parsed.GetValue(Unit))
            options = options with { Attacher = TombService.Attacher(options.Name) };
        if (!File.Exists(options.Attacher) && !Directory.Exists(options.MountPoint))
            throw new Finding($"{options.MountPoint}: there is no such directory", $"mkdir -p {options.MountPoint}");
        await RefuseTaken(options, TombSession.At(parsed), cancel);
        TombSession opened = parsed.GetValue(Unit) ? await TombSession.Open(parsed, TombService.Password(options.Name), cancel) : await TombSession.Open(parsed, cancel);
        options = Settled(options, parsed, opened);
        await opened.Snapshots(cancel); // says when the remote was rolled back
        TombRepository repository = opened.Repository;
        using TokenWatch? token = Watched(parsed, opened) is { } device ? new TokenWatch(device) : null;
        options = options with { OnSaved = snapshot => TombSession.Memory.Remember(repository, snapshot) };

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        using PosixSignalRegistration terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal =>
        {
            signal.Cancel = true;
            stop.Cancel();
        });
        await using Sbox.Tomb.Sessions.TombSession session = await Sbox.Tomb.Sessions.TombSession.Open(repository, options, stop.Token);
        using var server = new SessionServer(session, options) { Token = token };
        server.Listen();
        Say(session, options, opened.Speaker);
        if (parsed.GetValue(Serve))
            LetGo();
        ServiceManager.Notify("READY=1");
        ResidentMemory.GiveBack(); // opening needed much that serving does not: from here on it lives for days
        await server.Run(stop.Token);
        if (server.WasPulled)
            Console.Error.WriteLine($"what {options.Name} was not to be open without is gone: it was slammed");
        return 0;
    }

    // Two tombs may be open by names and places of their own; one over the other would take what is written to it unseen.
    private static async Task RefuseTaken(SessionOptions options, TombSession wanted, CancellationToken cancel)
    {
        await using (wanted)
        {
            if (await TryStatus(options, cancel) is { } open)
            {
                throw open.Location == wanted.Backend.Location
                    ? new Finding($"{options.Name}: this tomb is open already, at {open.MountPoint}", $"sbox tomb status {options.Name}")
                    : new Finding($"{options.Name}: a tomb of this name is open already, {open.Location} at {open.MountPoint}", "--name gives the other one another name");
            }
        }

        if (MountTable.At(options.MountPoint) is { Type: "overlay", Source: ['t', 'o', 'm', 'b', '-', .. var other] } && other != options.Name)
            throw new Finding($"{options.MountPoint}: the tomb {other} is open there", $"sbox tomb close {other}; or --at another directory");
    }

    private static async Task<SessionStatus?> TryStatus(SessionOptions options, CancellationToken cancel)
    {
        try
        {
            return await new SessionClient(options.RunDirectory).Status(options.Name, cancel);
        }
        catch (TombNotOpenException)
        {
            return null;
        }
    }

    private static void Say(Sbox.Tomb.Sessions.TombSession session, SessionOptions options, Speaker speaker)
    {
        string what = session.Opened is { } snapshot ? $"snapshot {snapshot.Id.ToString()[..8]} of {LookingCommands.Time(snapshot.Time)}" : "empty so far";
        int failed = session.HookReports.Count(static report => report.Finding is not null);
        string hooks = failed > 0 ? $"; {failed} of its hooks failed: sbox tomb hooks {options.Name}" : "";
        speaker.Answer($"opened {options.Name} at {options.MountPoint}: {what}{(session.Recovered ? "; what was not saved the last time is there" : "")}{hooks}", json =>
        {
            json.WriteString("opened", options.Name);
            json.WriteString("at", options.MountPoint);
            if (session.Opened is { } known)
                json.WriteString("snapshot", known.Id.ToString());
            json.WriteBoolean("recovered", session.Recovered);
            json.WriteNumber("hooks-failed", failed);
            if (session.Parted is { } parted)
                json.WriteString("conflict", parted.Id.ToString());
        });
        if (session.Parted is { } other)
            speaker.Note(SessionCommands.Parted(other.Id.ToString()));
    }

    // Whoever started this waits for the end of its output; from here on nobody listens.
    private static void LetGo()
    {
        Console.Out.Flush();
        Console.Error.Flush();
        StandardStreams.ToNull();
    }

    // The same command in a session of its own, the password by a pipe: no terminal's signal reaches it, and no argument shows the password.
    private static async Task<int> Leave(ParseResult parsed, CancellationToken cancel)
    {
        SessionOptions options = Options(parsed);
        await using TombSession place = TombSession.At(parsed);
        Watched(parsed, place); // before anything is asked
        using SecretMemory password = place.Password(parsed, "Password of the tomb: ", twice: false);
        int ended = await Leave([.. parsed.Tokens.Select(static token => token.Value)], password, cancel);
        if (ended == 0 && await KeepInTomb.Line(options.Name, options.MountPoint) is { } kept)
            place.Speaker.Note(kept);
        return ended;
    }

    /// <summary>Starts the process that serves a tomb, and waits until it is open or has failed.</summary>
    /// <param name="words">The command line, from <c>tomb</c> on.</param>
    /// <param name="password">The password.</param>
    /// <param name="cancel">Ends the waiting, and the process.</param>
    /// <returns>0 when it is open.</returns>
    public static async Task<int> Leave(IReadOnlyList<string> words, SecretMemory password, CancellationToken cancel)
    {
        string self = Environment.ProcessPath!;
        var start = new ProcessStartInfo("/usr/bin/setsid") { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = Environment.CurrentDirectory };
        start.ArgumentList.Add(self);
        if (Path.GetFileName(self) == "dotnet")
            start.ArgumentList.Add(Environment.GetCommandLineArgs()[0]);
        foreach (string word in WithoutPassword(words).Concat(["--serve", "--password-fd", "0"]))
            start.ArgumentList.Add(word);
        using Process server = Started(start);
        Tell(server, password);
        try
        {
            Task<string> complained = server.StandardError.ReadToEndAsync(CancellationToken.None);
            if (await server.StandardOutput.ReadLineAsync(CancellationToken.None).AsTask().WaitAsync(cancel) is not { } said)
            {
                Console.Error.Write(await complained.WaitAsync(cancel));
                await server.WaitForExitAsync(cancel);
                return server.ExitCode == 0 ? 1 : server.ExitCode;
            }

            // It is open, and its process keeps the other ends of these pipes for as long as it lives: nobody waits for their end.
            Console.Out.WriteLine(said);
            return 0;
        }
        catch (OperationCanceledException)
        {
            await End(server);
            throw;
        }
    }

    // It may refuse, and end, before it asks for the password: what it says then is what there is to say, and not that a pipe broke.
    private static void Tell(Process server, SecretMemory password)
    {
        try
        {
            server.StandardInput.BaseStream.Write(password.Span);
            server.StandardInput.BaseStream.Write("\n"u8);
            server.StandardInput.Close();
        }
        catch (IOException)
        {
            return; // its end is seen in what it says
        }
    }

    // Nobody waits for it any more, and it must not mount anything over a home that is in use by then. Told to end, it takes away what it has mounted.
    private static async Task End(Process server)
    {
        Signals.TrySend(server.Id, Signals.Terminate);
        try
        {
            await server.WaitForExitAsync(CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(5));
        }
        catch (TimeoutException)
        {
            server.Kill(entireProcessTree: true);
        }
    }

    private static Process Started(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception missing)
        {
            throw new Finding($"setsid: {missing.Message}", "apt install util-linux");
        }
    }

    private static IEnumerable<string> WithoutPassword(IReadOnlyList<string> words)
    {
        for (int at = 0; at < words.Count; at++)
        {
            if (words[at] is "--password-file" or "--password-fd")
                at++;
            else if (!words[at].StartsWith("--password-file=", StringComparison.Ordinal) && !words[at].StartsWith("--password-fd=", StringComparison.Ordinal))
                yield return words[at];
        }
    }
}
