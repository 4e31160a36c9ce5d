using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox ghost</c>: what a boot that keeps nothing tells its people.</summary>
internal static class GhostCommand
{
    internal const int NoGhost = 3;
    private const int LinesShown = 16;
    private static readonly TimeSpan Glance = TimeSpan.FromMilliseconds(500), KeepingLimit = TimeSpan.FromSeconds(60);

    public static Command Make()
    {
        Command command = new DocumentedCommand("ghost", "Have the box be a ghost, tell how full its memory is, and what it is about to forget")
        {
            Details =
            [
                "A boot of the menu's entry 'ghost' keeps every change of /etc and /var in memory, and is somebody new at each boot: machine-id, host name and the addresses of network cards are made up by sbox-root. An owner who wants "
                + "the cards' own addresses puts an empty file 00-sbox-ghost.link into /etc/systemd/network and, for NetworkManager, 90-sbox-ghost.conf into /etc/NetworkManager/conf.d.",
                "The menu's entry 'ghost in memory' does the same from a copy of its medium in memory, so that the stick may be taken out when somebody can log in: what is in use of it and 384 MiB must be free, else it is a ghost from the stick, and sbox status, "
                + "the console and each login say to leave it in. There is no disk then to upgrade or to keep anything on: reboot into 'normal' or 'ghost', with the stick in.",
                "Settings are in /etc/sbox/ghost.toml, key by key over /usr/lib/sbox/ghost.toml: farewell-seconds (0 to 600, 30 where it is not said; 0 has a shutdown wait for nobody) and memory-warning (percent, 80).",
            ],
        };
        command.Subcommands.Add(GhostDefault.Make());
        command.Subcommands.Add(Memory());
        command.Subcommands.Add(Farewell());
        command.Subcommands.Add(GhostLogout.Make());
        return command;
    }

    private static Command Memory()
    {
        var watch = new Option<bool>("--watch") { Description = "Look until ended, and warn on all terminals before it fills, and when the disk is taken out that this ghost runs from (sbox-ghost-memory.service)" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("memory", "Tell how full the memory is that holds what the session changed")
        {
            Details =
            [
                "Changes may take half of the machine's memory, and are never swapped. Where they, or all programs together, reach the first level of memory-warning, and twice more on the way to full, every terminal and the journal are told, with what "
                + "makes room: sbox forget, sbox keep, closing programs.",
                "With --watch a ghost that runs from a stick also keeps in memory what runs when the stick is taken out, and copies of sbox, cp, mount and a few more in "
                + $"{GhostKit.Place}, each where it is no more than a sixteenth of the machine's memory. When the stick is taken out, every terminal is told what goes on and what does not, how to use these, and how to switch off and wipe the memory. A ghost in memory says that nothing is lost.",
            ],
            ExitCodes = [(NoGhost, "This boot is no ghost.")],
        }.With(watch, json);
        command.SetAction((parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            if (GhostSession.Layers() is null)
                return Task.FromResult(SayNoGhost(speaker));
            if (parsed.GetValue(watch))
                return Task.FromResult(GhostWatch.Run(cancel));
            GhostMemory memory = GhostMemory.Look();
            speaker.Answer(Text(memory), writer =>
            {
                writer.WriteBoolean("ghost", true);
                writer.WriteNumber("limit", memory.Limit);
                writer.WriteNumber("used", memory.Used);
                writer.WriteNumber("machine", memory.Machine);
                writer.WriteNumber("available", memory.Available);
            });
            return Task.FromResult(0);
        });
        return command;
    }

    private static Command Farewell()
    {
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("farewell", "Show everybody what will be lost, and give them time to keep it")
        {
            Details =
            [
                "sbox-farewell.service runs it first of all when a ghost is switched off or restarted. It writes the ledger, noise left out, to every terminal and waits for farewell-seconds; whoever is logged in can still type sbox keep. It ends "
                + "sooner when everybody has logged out, and waits for nobody where nothing would be lost, nobody is logged in, or farewell-seconds is 0. A keep that is at work then is given a minute more.",
            ],
            ExitCodes = [(NoGhost, "This boot is no ghost.")],
        }.With(json);
        command.SetAction((parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            if (GhostSession.Layers() is not { } layers)
                return Task.FromResult(SayNoGhost(speaker));
            TimeSpan limit = GhostSettings.Read(GhostSettings.Files).Farewell;
            bool waited = limit > TimeSpan.Zero && IsAnyoneHere() && Show(layers, limit, cancel);
            if (waited)
                Wait(limit, cancel);
            speaker.Answer(waited ? "The ledger was shown" : "Nobody was to be told of anything", writer => writer.WriteBoolean("shown", waited));
            return Task.FromResult(0);
        });
        return command;
    }

    private static int SayNoGhost(Speaker speaker)
    {
        speaker.Answer("This boot is no ghost: /etc and /var are on the disk.", static writer => writer.WriteBoolean("ghost", false));
        return NoGhost;
    }

    internal static string Text(GhostMemory memory) =>
        $"changes take {Amount.OfBytes(memory.Used)} of {Amount.OfBytes(memory.Limit)} ({memory.Percent} %), and {Amount.OfBytes(memory.Available)} of the machine's {Amount.OfBytes(memory.Machine)} are available";

    // Whether there was anything to show.
    private static bool Show(IReadOnlyList<GhostLayer> layers, TimeSpan limit, CancellationToken cancel)
    {
        LedgerView view = LedgerView.Of(layers, [], cancel);
        if (view.Changed.Count == 0 && !view.Entries.Any(entry => !LedgerGroup.Of(entry).IsNoise && view.IsLost(entry)))
            return false;
        string[] lines = LedgerText.Of(view, all: false, noise: false).Split('\n');
        var text = new StringBuilder("This ghost is being switched off, and forgets:\n");
        foreach (string line in lines.Take(LinesShown))
            text.Append("  ").Append(line).Append('\n');
        if (lines.Length > LinesShown)
            text.Append(CultureInfo.InvariantCulture, $"  ... and {lines.Length - LinesShown} lines more: sbox ledger\n");
        text.Append(MemoryDisk.IsUsed() ? "There is no disk to keep anything on: copy it elsewhere, here and now." : "To keep something: sbox keep PATH|GROUP, here and now.");
        text.Append(CultureInfo.InvariantCulture, $" It goes on in {limit.TotalSeconds:0} s, or when everybody has logged out.");
        Tell(text.ToString());
        return true;
    }

    private static void Wait(TimeSpan limit, CancellationToken cancel)
    {
        for (long started = Stopwatch.GetTimestamp(); IsAnyoneHere() && !cancel.IsCancellationRequested; Thread.Sleep(Glance))
        {
            TimeSpan waited = Stopwatch.GetElapsedTime(started);
            if (waited > limit + KeepingLimit || (waited > limit && !IsKeeping()))
                return;
        }
    }

    private static bool IsAnyoneHere() => MachineProbe.This.Users() is { Count: > 0 };

    private static bool IsKeeping()
    {
        using Dir run = Dir.Open("/run/sbox");
        using FileLock? free = run.Exists("ghost-disk.lock") ? FileLock.TryTake(run, "ghost-disk.lock", LockKind.Exclusive, 0x180 /* 0600 */) : null;
        return run.Exists("ghost-disk.lock") && free is null;
    }

    /// <summary>Tells the journal by standard error, as the unit has it, and all terminals by wall(1), as the sentinel does.</summary>
    internal static void Tell(string text)
    {
        Console.Error.WriteLine($"<4>{text.Replace("\n", "\n<4>", StringComparison.Ordinal)}");
        try
        {
            ChildProcess.Run(new ChildCommand("wall", []) { Input = $"sbox: {text}\n" });
        }
        catch (ChildFailedException missing)
        {
            Console.Error.WriteLine($"<4>no terminal was told: {missing.Message}");
        }
    }
}
