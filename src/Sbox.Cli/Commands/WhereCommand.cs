using System.CommandLine;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox where</c>: for any path, to which part of the box it belongs, and what becomes of it.</summary>
internal static class WhereCommand
{
    public static Command Make()
    {
        Option<bool> json = SharedOptions.Json();
        var paths = new Argument<string[]>("PATH") { Description = "Any path of the running box, there or not", Arity = ArgumentArity.OneOrMore };
        Command command = new DocumentedCommand("where", "Say where a path's bytes are, and what becomes of them")
        {
            Details = ["The parts are: the read-only system, /etc, /var (with home directories), memory, a tomb, the EFI partition, and other disks."],
            Examples = [new Example("Is this safe from a reset?", "sbox where ~/thesis.tex")],
        }.With(paths, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            IReadOnlyList<MountEntry> mounts = MountTable.Read();
            using OstreeSysroot? sysroot = Directory.Exists("/sysroot/ostree/deploy") ? OstreeSysroot.Open("/sysroot") : null;
            Deployment? running = sysroot?.Booted;
            if (sysroot is null || running is null)
                throw new Finding("this machine runs no box", "On a box: sbox where PATH");
            foreach (string path in parsed.GetValue(paths)!)
                Say(speaker, Look(path, sysroot, running, mounts));
            return 0;
        });
        return command;
    }

    private static PathPlace Look(string path, OstreeSysroot sysroot, Deployment running, IReadOnlyList<MountEntry> mounts)
    {
        (string real, bool exists) = Follow(Path.GetFullPath(path));
        PathPlace place = PathPlace.Of(path, real, exists, mounts, RootConfig.IsGhost(sysroot.BootArguments));
        try
        {
            return place.With(sysroot, running);
        }
        catch (LinuxException refused) when (refused.Errno == Errno.EACCES)
        {
            return place; // what only root may read is said to be where it is all the same
        }
    }

    // Links in directories are followed, and one at the end; what is not there is where it would be made.
    private static (string Real, bool Exists) Follow(string path)
    {
        string real = "/";
        bool exists = true;
        var rest = new Queue<string>(path.Split('/', StringSplitOptions.RemoveEmptyEntries));
        for (int links = 0; rest.TryDequeue(out string? name);)
        {
            if (name == "..")
            {
                real = Path.GetDirectoryName(real) ?? "/";
                continue;
            }

            string next = real == "/" ? $"/{name}" : $"{real}/{name}";
            if (name == ".")
                continue;
            if (exists && links < 40 && new FileInfo(next).LinkTarget is { } target)
            {
                links++;
                rest = new Queue<string>(target.Split('/', StringSplitOptions.RemoveEmptyEntries).Concat(rest));
                real = target.StartsWith('/') ? "/" : real;
                continue;
            }

            exists = exists && (Directory.Exists(next) || File.Exists(next));
            real = next;
        }

        return (real, exists);
    }

    private static void Say(Speaker speaker, PathPlace place)
    {
        string kind = place.Kind switch
        {
            PlaceKind.System => "the system: read-only, part of the version that runs",
            PlaceKind.Etc when place.IsOfGhost == true => "/etc, in memory: this boot is a ghost",
            PlaceKind.Etc => place.Change switch
            {
                EtcChangeKind.Modified => "/etc: changed from its default (sbox etc diff shows how)",
                EtcChangeKind.Removed => "/etc: a default that you removed",
                EtcChangeKind.Added => "/etc: your own, no default of the version",
                _ => "/etc: the version's default",
            },
            PlaceKind.Var when place.IsOfGhost == true => "/var, in memory: this boot is a ghost",
            PlaceKind.Var when place.IsGhost => "/var: on the disk, and what this boot changes of it in memory",
            PlaceKind.Var => "/var: writable, shared by all versions",
            PlaceKind.Memory => "memory only",
            PlaceKind.Tomb => "a tomb: sbox tomb status",
            PlaceKind.Esp => "the EFI partition",
            PlaceKind.Disk when MemoryDisk.IsUsed() => "a copy of the box's own disk, in memory: read-only for everyone",
            PlaceKind.Disk => "the box's own disk, read-only for everyone but sbox",
            _ => "another file system",
        };
        string really = place.Real == Path.GetFullPath(place.Path) ? "" : $"  -> {place.Real}";
        speaker.Answer(
            $"""
            {place.Path}{really}{(place.Exists ? "" : "  (not there)")}
                is in      {kind}
                bytes      {place.Bytes ?? "nowhere on a disk"}
                upgrade    {place.AtUpgrade}
                rollback   {place.AtRollback}
                reboot     {place.AtReboot}
                reset      {place.AtReset}
            """,
            writer =>
            {
                writer.WriteString("path", place.Path);
                writer.WriteString("real", place.Real);
                writer.WriteString("kind", place.Kind.ToString().ToLowerInvariant());
                writer.WriteBoolean("exists", place.Exists);
                writer.WriteBoolean("writable", place.IsWritable);
                writer.WriteString("bytes", place.Bytes);
                if (place.IsOfGhost is { } ofGhost)
                    writer.WriteBoolean("of-ghost", ofGhost);
                writer.WriteString("change", place.Change?.ToString().ToLowerInvariant());
                writer.WriteString("upgrade", place.AtUpgrade);
                writer.WriteString("rollback", place.AtRollback);
                writer.WriteString("reboot", place.AtReboot);
                writer.WriteString("reset", place.AtReset);
            });
    }
}
