using System.Runtime.InteropServices;
using Sbox.Boot;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>Looks after a ghost for as long as it runs: whether its memory fills, and whether the disk is still there that it runs from.</summary>
internal static class GhostWatch
{
    private const int PartOfMemory = 16;
    private static readonly TimeSpan Glance = TimeSpan.FromSeconds(1);
    private const int GlancesOfMemory = 5;

    // What a person still wants when the disk is gone: to look, to copy, to save a tomb, to switch off; and what wipes the memory then (sbox-ghost-wipe).
    private static readonly string[] Programs =
    [
        "/usr/bin/sh", "/usr/bin/bash", "/usr/lib/systemd/systemd", "/usr/lib/systemd/systemd-executor", "/usr/lib/systemd/systemd-shutdown", "/usr/bin/systemctl", "/usr/lib/systemd/system-shutdown/sbox-ghost-wipe",
        "/usr/bin/cat", "/usr/bin/find", "/usr/bin/head", "/usr/bin/nproc", "/usr/bin/mount", "/usr/bin/umount", "/usr/bin/cp", "/usr/bin/ls",
    ];

    // Loaded by name, by sbox and by systemd, where they are wanted.
    private static readonly string[] Libraries = ["libcrypto.so.3", "libssl.so.3", "libmount.so.1", "libblkid.so.1"];

    public static int Run(CancellationToken cancel)
    {
        var alarm = new GhostMemoryAlarm(GhostSettings.Read(GhostSettings.Files).MemoryWarning);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        using PosixSignalRegistration terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal =>
        {
            signal.Cancel = true;
            stop.Cancel();
        });
        GhostMedium? medium = GhostMedium.Find();
        IReadOnlyList<HeldFile> held = medium is { IsCopied: false } ? Hold(GhostMemory.Look().Machine / PartOfMemory) : [];
        if (held.Count > 0)
            Console.Error.WriteLine($"<6>{held.Count} files ({Amount.OfBytes(held.Sum(static file => file.Bytes))}) stay in memory, for when {medium!.Name} is taken out");
        int glance = 0;
        do
        {
            if (medium is { IsThere: false } gone)
            {
                medium = null;
                TellTerminals(Words(gone));
            }

            if (glance++ % GlancesOfMemory == 0 && GhostMemory.Look() is var memory && alarm.Look(memory.Fullest) is not null)
                GhostCommand.Tell($"The memory of this ghost fills: {GhostCommand.Text(memory)}.\nsbox ledger --all shows what takes room; {(MemoryDisk.IsUsed() ? "" : "sbox keep writes to the disk, ")}sbox forget PATH takes back at once. Full, programs can write nothing more, or are ended.");
        }
        while (!stop.Token.WaitHandle.WaitOne(Glance));
        GC.KeepAlive(held);
        return 0;
    }

    /// <summary>What people are told of a disk that is gone.</summary>
    internal static string Words(GhostMedium gone) => gone.IsCopied
        ? $"{gone.Name} was taken out. Nothing is lost: this ghost runs from its copy in memory, and needs it no more. What you changed is in memory only, as before."
        : $"""
            {gone.Name} was taken out, and this ghost runs from it.
            What you changed is in memory and still there. What is open goes on for a while; whatever was not read yet is gone: "Bus error", "Input/output error".
            To put it in again does not help this session. sbox, sh, bash, cat, cp, ls, mount, umount and systemctl were kept in memory, and work:
              save an open tomb that lies elsewhere: sbox tomb save    copy to another stick: mount /dev/... /mnt; cp FILE /mnt; umount /mnt
              switch off: systemctl poweroff. If that hangs, hold the power button; then the memory is not wiped.
            The disk itself is whole: it boots again, and what "sbox keep" had written is there.
            """;

    // Each program and what the loader would load for it, told by the loader itself; the smallest come first where there is not room for all.
    private static IReadOnlyList<HeldFile> Hold(long room)
    {
        var paths = new HashSet<string>(StringComparer.Ordinal);
        string own = Environment.ProcessPath!;
        foreach (string program in Programs.Prepend(own).Where(File.Exists))
        {
            paths.Add(RealPath.Of(program));
            foreach (string library in LoadedFor(program))
                paths.Add(RealPath.Of(library));
        }

        string[] beside = [.. paths.Where(static path => Path.GetFileName(path).StartsWith("libc.so", StringComparison.Ordinal)).Select(static path => Path.GetDirectoryName(path)!)];
        foreach (string library in beside.SelectMany(static directory => Libraries.Select(name => $"{directory}/{name}")).Where(File.Exists))
            paths.Add(RealPath.Of(library));
        var held = new List<HeldFile>();
        foreach (string path in paths.OrderBy(static path => new FileInfo(path).Length))
        {
            if (HeldFile.TryHold(path, room) is not { } file)
                continue;
            room -= file.Bytes;
            held.Add(file);
        }

        return held;
    }

    // ld.so(8): with this variable it lists what it would load ("libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)"), and starts nothing. A script has none.
    private static IEnumerable<string> LoadedFor(string program)
    {
        if (program.EndsWith("-wipe", StringComparison.Ordinal))
            return [];
        var libraries = new List<string>();
        try
        {
            ChildProcess.Run(new ChildCommand(program, []) { Environment = new Dictionary<string, string> { ["LD_TRACE_LOADED_OBJECTS"] = "1" } },
                line => libraries.AddRange(line.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries).Where(static word => word.StartsWith('/') && File.Exists(word))));
        }
        catch (ChildFailedException)
        {
            return []; // it does not start at all
        }

        return libraries;
    }

    // Not by wall(1): it lies on the disk.
    private static void TellTerminals(string text)
    {
        Console.Error.WriteLine($"<0>{text.ReplaceLineEndings("\n<0>")}");
        foreach (string terminal in Terminals.All())
            _ = Terminals.TryTell(terminal, $"\n\asbox: {text}\n"); // one that takes nothing now has nobody who reads
    }
}
