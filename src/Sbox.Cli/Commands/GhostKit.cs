using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Cli.Commands;

/// <summary>
/// What a ghost keeps in memory for the time when its disk is gone. A kernel that misses a disk refuses to open any file of it, those included
/// that it has in memory: whoever runs needs its own pages, and what is to be started needs a copy elsewhere.
/// </summary>
internal static class GhostKit
{
    /// <summary>Where the copies are: in a place that systemd and the wipe leave alone to the very end.</summary>
    public const string Place = "/run/initramfs/sbox-kit";

    private const string Wipe = "/usr/lib/systemd/system-shutdown/sbox-ghost-wipe", Loader = "ld.so";
    private const uint Program = 0x1ED, Text = 0x1A4; // 0755, 0644

    // Those that run then, and must not end in the middle: the first program, the shell that somebody sits at, and sbox, which is an open tomb's process too.
    private static readonly string[] Running = ["/usr/lib/systemd/systemd", "/usr/bin/bash"];

    // Loaded by name, by sbox and by systemd, when they are wanted.
    private static readonly string[] LoadedLater = ["libcrypto.so.3", "libssl.so.3", "libmount.so.1", "libblkid.so.1"];

    /// <summary>What a person may type when the disk is gone.</summary>
    public static IReadOnlyList<string> ForPeople { get; } = ["sbox", "cat", "cp", "ls", "mkdir", "mount", "sync", "umount"];

    private static readonly string[] ForTheWipe = ["find", "head", "nproc"];

    /// <summary>Has what runs stay in memory, in pages that all processes share.</summary>
    /// <param name="room">Bytes; the smallest files come first.</param>
    public static IReadOnlyList<HeldFile> Hold(long room)
    {
        HashSet<string> paths = WithLibraries(Running.Prepend(Environment.ProcessPath!));
        string[] beside = [.. paths.Where(static path => Path.GetFileName(path).StartsWith("libc.so", StringComparison.Ordinal)).Select(static path => Path.GetDirectoryName(path)!)];
        foreach (string library in beside.SelectMany(static directory => LoadedLater.Select(name => $"{directory}/{name}")).Where(File.Exists))
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

    /// <summary>Copies programs, the libraries that the loader names for them, the loader itself, and the functions that start them.</summary>
    /// <param name="place">A directory in memory; what an earlier one left there is replaced.</param>
    /// <param name="room">Bytes; a program that would take more is left out.</param>
    /// <param name="medium">For when that is gone.</param>
    /// <param name="sbox">The program itself; null for the one that runs.</param>
    /// <returns>Bytes that were copied, and what people may type.</returns>
    /// <exception cref="IOException">Something could not be read or written; what there is of it is no use.</exception>
    public static (long Bytes, IReadOnlyList<string> Programs) Pack(string place, long room, GhostMedium medium, string? sbox = null)
    {
        if (Directory.Exists(place))
            Directory.Delete(place, recursive: true);
        Directory.CreateDirectory(place);
        using Dir kit = Dir.Open(place);
        kit.MakeDir("bin", Program);
        kit.MakeDir("lib", Program);
        long left = room;
        var packed = new List<string>();
        foreach (string name in ForTheWipe.Concat(ForPeople.Reverse())) // sbox is the largest
        {
            string program = name == "sbox" ? sbox ?? Environment.ProcessPath! : $"/usr/bin/{name}";
            if (!File.Exists(program))
                continue;
            string[] libraries = LoadedFor(program);
            (string From, string To)[] files = [(program, $"bin/{name}"), .. libraries.Select(static path => (path, IsLoader(path) ? Loader : $"lib/{Path.GetFileName(path)}"))];
            files = [.. files.Where(file => !kit.Exists(file.To))];
            long bytes = files.Sum(static file => new FileInfo(RealPath.Of(file.From)).Length);
            if (bytes > left)
                continue;
            left -= bytes;
            foreach ((string from, string to) in files)
                Put(kit, to, File.ReadAllBytes(from));
            packed.Add(name);
        }

        if (File.Exists(Wipe))
            Put(kit, "wipe", File.ReadAllBytes(Wipe));
        Put(kit, "env", System.Text.Encoding.UTF8.GetBytes(Functions(place, packed, medium)), Text);
        return (room - left, [.. ForPeople.Where(packed.Contains)]);
    }

    // A shell forks for a function, and the loader lies in memory: nothing of it opens a file of the disk. A word that is an alias could be no function's name.
    private static string Functions(string place, IReadOnlyList<string> programs, GhostMedium medium) =>
        $"unalias off {string.Join(' ', programs)} 2>/dev/null || true\n"
        + string.Concat(programs.Select(name => $"{name}() {{ {place}/{Loader} --library-path {place}/lib {place}/bin/{name} \"$@\"; }}\n")) + Off(place, medium);

    // sysrq's "o" is the kernel's own way to switch off. The first program ends what is left of a login whose first process is gone: whoever wipes is in no login's control group any
    // more. What was copied to another disk goes there first, and is waited for where that is possible. systemd-shutdown unmounts before its wipe; here what lies in memory is emptied.
    private static string Off(string place, GhostMedium medium) => $$"""
        off() {
          if [ -e '{{medium.Device}}' ] && [ "$1" != now ]; then echo 'A disk is where that of this ghost was: systemctl poweroff. Where that does nothing: off now' >&2; return 1; fi
          (
            trap '' HUP TERM
            echo $BASHPID >/sys/fs/cgroup/cgroup.procs
            kill -KILL -1
            coproc { sync; }
            read -rt 30 _ <&${COPROC[0]}
            while read -r _ at kind _; do
              case $kind in tmpfs | ramfs) printf -v at %b "$at"; find "$at" -xdev -mindepth 1 ! -path '/run/initramfs*' -delete ;; esac
              case $at in /run/credentials/*) umount "$at" ;; esac
            done </proc/mounts 2>/dev/null
            if [ -e {{place}}/wipe ]; then (. {{place}}/wipe); else echo 'sbox: the memory is not wiped: there was no room for what does it'; fi
            echo o >/proc/sysrq-trigger
          ) </dev/null >/dev/console 2>&1
        }

        """;

    private static void Put(Dir kit, string name, byte[] bytes, uint mode = Program)
    {
        using Microsoft.Win32.SafeHandles.SafeFileHandle file = kit.CreateFile(name, mode);
        Files.WriteAt(file, bytes, 0, kit.Of(name));
        Files.ChangeMode(file, mode, kit.Of(name)); // whatever the umask is
    }

    private static HashSet<string> WithLibraries(IEnumerable<string> programs)
    {
        var paths = new HashSet<string>(StringComparer.Ordinal);
        foreach (string program in programs.Where(File.Exists))
            paths.UnionWith([RealPath.Of(program), .. LoadedFor(program).Select(RealPath.Of)]);
        return paths;
    }

    private static bool IsLoader(string path) => Path.GetFileName(path).StartsWith("ld-linux", StringComparison.Ordinal);

    // ld.so(8): with this variable it lists what it would load ("libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)"), and starts nothing.
    private static string[] LoadedFor(string program)
    {
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

        return [.. libraries.Distinct(StringComparer.Ordinal)];
    }
}
