using System.Collections.Concurrent;
using System.Globalization;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>
/// What this machine knows of locks: which are its own, with the process that holds each, and since when it sees the others unchanged. A
/// lock names a host and a process, but boxes of one image share a host name, and clocks differ: neither tells whether its holder lives.
/// Kept in <c>$XDG_STATE_HOME/sbox/locks</c>, and in memory alone where that cannot be written.
/// </summary>
internal static class LockMemory
{
    private const string OwnLock = "held", OthersLock = "seen";
    private static readonly TimeSpan KeptFor = TimeSpan.FromDays(7);
    private static readonly ConcurrentDictionary<Checksum, string> known = new();
    private static readonly string boot = File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim();

    private static string? Place => (Environment.GetEnvironmentVariable("XDG_STATE_HOME"), Environment.GetEnvironmentVariable("HOME")) switch
    {
        ({ Length: > 0 } state, _) => Path.Combine(state, "sbox", "locks"),
        (_, { Length: > 0 } home) => Path.Combine(home, ".local/state/sbox/locks"),
        _ => null,
    };

    /// <summary>Notes a lock as one of this process.</summary>
    public static void NoteHeld(Checksum id) => Note(id, $"{OwnLock} {boot} {Environment.ProcessId} {Started(Environment.ProcessId)}");

    /// <summary>Notes that a lock of this process could not be deleted, and that nobody works under it.</summary>
    public static void NoteAbandoned(Checksum id) => Note(id, $"{OwnLock} {boot} 0 0");

    /// <summary>Forgets a lock that was deleted.</summary>
    public static void Forget(Checksum id)
    {
        known.TryRemove(id, out _);
        Quietly(directory => File.Delete(Path.Combine(directory, id.ToString())));
    }

    /// <summary>Whether the process of this machine that made the lock still runs; null when this machine knows of none that did.</summary>
    public static bool? IsAlive(Checksum id) =>
        Recall(id) is [OwnLock, var then, var process, var started] ? then == boot && int.TryParse(process, out int pid) && Started(pid) is { } since && since == started : null;

    /// <summary>For how long this machine has seen the lock there unchanged, by the clock that nobody sets; the first look begins it.</summary>
    public static TimeSpan Unchanged(Checksum id, TimeProvider clock)
    {
        if (Recall(id) is [OthersLock, var then, var at] && then == boot && long.TryParse(at, NumberStyles.None, CultureInfo.InvariantCulture, out long first))
            return clock.GetElapsedTime(first);
        Note(id, string.Create(CultureInfo.InvariantCulture, $"{OthersLock} {boot} {clock.GetTimestamp()}"));
        return TimeSpan.Zero;
    }

    private static string[] Recall(Checksum id)
    {
        if (known.TryGetValue(id, out string? text))
            return text.Split(' ');
        string[] words = [];
        Quietly(directory =>
        {
            string path = Path.Combine(directory, id.ToString());
            if (File.Exists(path))
                words = File.ReadAllText(path).TrimEnd('\n').Split(' ');
        });
        return words;
    }

    // Not durable: what a power cut takes of it makes a lock somebody else's, and those are waited for.
    private static void Note(Checksum id, string text)
    {
        known[id] = text;
        Quietly(directory =>
        {
            using (Dir root = Dir.Open("/"))
                root.MakeDirs(Path.GetFullPath(directory).TrimStart('/'), 0x1C0 /* 0700 */);
            foreach (FileInfo old in new DirectoryInfo(directory).EnumerateFiles().Where(static file => DateTime.UtcNow - file.LastWriteTimeUtc > KeptFor))
                old.Delete();
            string path = Path.Combine(directory, id.ToString());
            File.WriteAllText($"{path}.new", $"{text}\n");
            File.Move($"{path}.new", path, overwrite: true);
        });
    }

    private static void Quietly(Action<string> work)
    {
        try
        {
            if (Place is { } directory)
                work(directory);
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            return; // this process remembers; for others the lock is one that is waited for
        }
    }

    // When a process began, in ticks since the boot (proc_pid_stat(5), field 22): numbers of processes come again. Null when there is none.
    private static string? Started(int process)
    {
        try
        {
            string stat = File.ReadAllText($"/proc/{process}/stat");
            return stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[19];
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
