using System.Text;
using Sbox.Boot;
using Sbox.Linux;

// sbox-root: makes the root of the deployment that the kernel command line names, out of the physical root mounted at /sysroot.
// It runs once, in the initrd, between sysroot.mount and initrd-root-fs.target. docs/boot.md has the whole road.
// As the first program of the machine, where the initrd has nothing else, it does what is before and after that too.
const string Usage = "usage: sbox-root [--plan | --explain] [--sysroot DIR] [--command-line TEXT]";

if (FirstProgram.IsThis)
    return FirstOfAll(args);

bool planOnly = false, explain = false;
string sysroot = "/sysroot";
string? commandLine = null;
for (int at = 0; at < args.Length; at++)
{
    switch (args[at])
    {
        case "--plan":
            planOnly = true;
            break;
        case "--explain":
            explain = true;
            break;
        case "--sysroot" when at + 1 < args.Length:
            sysroot = args[++at].TrimEnd('/');
            break;
        case "--command-line" when at + 1 < args.Length:
            commandLine = args[++at];
            break;
        default:
            return Say(Usage, exitCode: 2);
    }
}

try
{
    string line = commandLine ?? ReadCommandLine();
    RootConfig config = RootConfig.From(KernelArguments.Parse(line));
    if (!explain)
        SignedCommandLine.Check(line, ReadSignedLines());
    if (explain)
        return Explain(config, sysroot);
    RootPlan plan = RootPlan.Make(config, PhysicalRoot.Look(sysroot, config.OstreeLink));
    if (planOnly)
        Console.Out.Write(plan);
    else
        Execute(plan, config);
    if (!planOnly && config.FromRam)
        MemoryDisk.Decline("an initrd made by dracut has the disk mounted before sbox-root runs", static line => Say(line, exitCode: 0));
    return 0;
}
catch (NoRootException refusal)
{
    return Say(refusal.Message, exitCode: 1);
}
catch (Exception refused) // mostly LinuxException and MountException; whatever it is, the console gets one line and the shell opens
{
    return Say($"{refused.Message}; the deployment is not mounted: reboot and choose another one in the boot menu", exitCode: 1);
}

static void Execute(RootPlan plan, RootConfig config)
{
    RootMounter.Execute(plan, static line => Say(line, exitCode: 0));
    TpmRegister.Close(config.RequireVerity, TpmRegister.GivesKeys(), config.RequireTpm, static line => Say(line, exitCode: 0));
}

static int FirstOfAll(string[] args)
{
    bool mayOpenShell = false; // until the command line is known
    try
    {
        FirstProgram.MountApiFileSystems();
        string line = ReadCommandLine();
        string? signed = ReadSignedLines();
        KernelArguments arguments = KernelArguments.Parse(line);
        mayOpenShell = signed is null && !RootConfig.AsksForVerity(arguments); // a sealed box opens no way around its seal
        SignedCommandLine.Check(line, signed);
        FirstProgram.Boot(arguments, args, ConsoleLine.Say);
    }
    catch (NoRootException refusal)
    {
        ConsoleLine.Say(refusal.Message);
    }
    catch (Exception refused)
    {
        ConsoleLine.Say($"{refused.Message}; the deployment is not mounted: reboot and choose another one in the boot menu");
    }

    Emergency.Wait(mayOpenShell);
    return 1;
}

// Before the emergency shell: the service below never ran when its disk never came, so nothing has said so yet.
static int Explain(RootConfig config, string sysroot)
{
    // An open shell in front of a sealed box would be everyone's who can make its boot fail.
    const string NoShell = "this boot is sealed: there is no emergency shell; Ctrl-Alt-Del reboots";
    if (MountTable.At(sysroot) is not null)
        return config.RequireVerity ? Say(NoShell, exitCode: 0) : 0;
    string present = string.Join(", ", BlockDevices.List().Where(static device => device.FileSystem is not null));
    return Say(
        $"the disk root={config.Root ?? "(missing on the kernel command line)"} did not appear or could not be mounted; "
        + $"file systems here: {(present.Length > 0 ? present : "none")}: connect the disk and reboot, or see journalctl -b -u sysroot.mount{(config.RequireVerity ? $"; {NoShell}" : "")}", exitCode: 0);
}

static string ReadCommandLine()
{
    using Dir proc = Dir.Open("/proc");
    return Encoding.UTF8.GetString(proc.ReadAll("cmdline"));
}

static string? ReadSignedLines()
{
    using Dir root = Dir.Open("/");
    return root.TryReadAll(SignedCommandLine.Path) is { } bytes ? Encoding.UTF8.GetString(bytes) : null;
}

static int Say(string line, int exitCode)
{
    // The journal puts the name before the line by itself.
    string name = Environment.GetEnvironmentVariable("JOURNAL_STREAM") is null ? "sbox-root: " : "";
    Console.Error.WriteLine($"{name}{line}");
    return exitCode;
}
