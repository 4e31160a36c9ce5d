using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>Who did it, as far as can be said: what the kernel noted at the moment itself, and what /proc still has.</summary>
/// <param name="Process">The process.</param>
/// <param name="Program">Its program's path.</param>
/// <param name="IsOfSystem">Whether the program is a file of the sealed system.</param>
/// <param name="Name">The name that it gave itself.</param>
/// <param name="CommandLine">Its arguments, where it still lived.</param>
/// <param name="ControlGroup">Its control group, by which systemd knows services and sessions.</param>
/// <param name="User">The user that it acted as.</param>
/// <param name="LoginUser">The user who had logged in; null for services.</param>
/// <param name="Parent">The process that started it.</param>
public sealed record Culprit(
    int Process, string Program, bool IsOfSystem, string Name, string CommandLine, string? ControlGroup, uint User, uint? LoginUser, int Parent)
{
    /// <summary>The program as a path of the sealed system, for <c>by</c> in policies; null where it is none.</summary>
    public string? SystemProgram => IsOfSystem ? Program : null;

    /// <summary>Whether it is what its file says: a program that is told to load code of others acts for them, whatever file it was started from.</summary>
    public bool IsUnaltered { get; init; }

    /// <summary>Whether it is sbox itself: the file of the sealed system, not just any program of that name.</summary>
    public bool IsSbox { get; init; }

    /// <summary>Whether it is a program of the system that sbox has started, to change the keys of the disk below the root.</summary>
    public bool ServesSbox { get; init; }

    private static readonly string[] DiskTools = ["/usr/sbin/cryptsetup", "/usr/bin/systemd-cryptenroll"];

    /// <summary>Gathers what can be known.</summary>
    /// <param name="caller">What the kernel noted.</param>
    /// <param name="facts">The system, to tell its programs from others.</param>
    /// <param name="sbox">sbox's path in the system.</param>
    public static Culprit Of(Caller caller, SystemFacts facts, string sbox)
    {
        string program = caller.ProgramPath;
        bool ofSystem = program.StartsWith('/') && SystemFacts.DeviceName(caller.ProgramDevice) == facts.RootDevice;
        if (!ofSystem)
            program = LinkOf($"/proc/{caller.Process}/exe") ?? program;
        string arguments = TextOf($"/proc/{caller.Process}/cmdline").TrimEnd('\0').Replace('\0', ' ');
        bool unaltered = ofSystem && !TextOf($"/proc/{caller.Process}/environ").Split('\0').Any(static variable => variable.StartsWith("LD_", StringComparison.Ordinal));
        return new Culprit(
            caller.Process, program, ofSystem, caller.Name, arguments.Length > 400 ? arguments[..400] : arguments,
            ControlGroups.PathOf(caller.ControlGroup) ?? GroupOf(caller.Process), caller.User, caller.LoginUser == Caller.NoLogin ? null : caller.LoginUser, caller.Parent)
        {
            IsUnaltered = unaltered,
            IsSbox = unaltered && program == sbox,
            // sbox waits for them, so it can be asked. What runs is another file where somebody mounted one over it, which is found by itself.
            ServesSbox = unaltered && DiskTools.Contains(program) && LinkOf($"/proc/{caller.Parent}/exe") == sbox && !LoadsOthers(caller.Parent),
        };
    }

    // A program that is told to load code of others acts for them, whatever file it was started from.
    private static bool LoadsOthers(int process) => TextOf($"/proc/{process}/environ").Split('\0').Any(static variable => variable.StartsWith("LD_", StringComparison.Ordinal));

    /// <summary>Whether a process says that it runs sbox: good enough to leave it alone where it is told of, and for nothing more.</summary>
    internal static bool SeemsSbox(int process, string sbox) => LinkOf($"/proc/{process}/exe") == sbox && !LoadsOthers(process);

    /// <summary>Gathers what can be known of a process of which only the number is known.</summary>
    public static Culprit Of(int process, SystemFacts facts)
    {
        string program = LinkOf($"/proc/{process}/exe") ?? "";
        string name = TextOf($"/proc/{process}/comm").TrimEnd('\n');
        string arguments = TextOf($"/proc/{process}/cmdline").TrimEnd('\0').Replace('\0', ' ');
        _ = facts;
        return new Culprit(process, program, false, name, arguments, GroupOf(process), 0, null, 0);
    }

    /// <inheritdoc/>
    public override string ToString() =>
        $"{(Program.Length > 0 ? Program : Name)}[{Process}] of user {(LoginUser ?? User)}{(ControlGroup is { Length: > 1 } ? $" in {ControlGroup}" : "")}";

    private static string? GroupOf(int process)
    {
        string line = TextOf($"/proc/{process}/cgroup").Split('\n').FirstOrDefault(static line => line.StartsWith("0::", StringComparison.Ordinal)) ?? "";
        return line.Length > 3 ? line[3..] : null;
    }

    private static string? LinkOf(string path)
    {
        try
        {
            return new FileInfo(path).LinkTarget;
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return null; // it has ended: what the kernel noted is all there is
        }
    }

    private static string TextOf(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return ""; // it has ended
        }
    }
}
