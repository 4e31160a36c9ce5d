using Sbox.Boot;
using Sbox.Linux;

// --reset SYSROOT COMMAND-LINE: what sbox-root does, without the half minute in which a person could switch off.
if (args is ["--reset", var disk, var line])
{
    RootConfig config = RootConfig.From(KernelArguments.Parse(line));
    RootPlan plan = RootPlan.Make(config, PhysicalRoot.Look(disk, config.OstreeLink));
    RootMounter.Execute(plan with { Steps = [.. plan.Steps.Where(static step => step is not RootStep.CountDown)] }, Console.Error.WriteLine);
    return;
}

// --next SYSROOT DEPLOYMENT: the root that a soft reboot goes to; prints its plan, or why there is none.
if (args is ["--next", var physical, var name] && DeploymentName.TryParse(name, out DeploymentName next))
{
    var roots = new SoftRoots { Next = next };
    try
    {
        Console.Write(roots.MakeNext(physical));
    }
    catch (NoRootException none)
    {
        Console.WriteLine(none.Message);
    }

    return;
}

// --memory DEVICE RUN AT: a copy of it in memory, mounted for a look, and let go of.
if (args is ["--memory", var medium, var run, var at])
{
    using var copy = new MemoryCopy(Console.WriteLine, run);
    (string device, MemoryDisk made) = copy.Make(medium);
    Directory.CreateDirectory(at);
    using (FileSystemContext context = FileSystemContext.Open("ext4"))
    using (DetachedMount mount = context.Set("source", device).Set("ro").Create(MountAttributes.ReadOnly))
        mount.AttachAt(at);
    MountEntry memory = MountTable.At($"{run}/{MemoryDisk.Directory}")!;
    int files = Directory.GetFiles(at, "*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = 0 }).Length;
    Console.WriteLine($"mounted ro, {files} files, device {(BlockDevices.IsReadOnly(Path.GetFileName(device)) ? "read-only" : "writable")}, {memory.Type} {(memory.IsReadOnly ? "ro" : "rw")}");
    Mounts.Unmount(at);
    copy.Forget();
    Console.WriteLine(MountTable.At($"{run}/{MemoryDisk.Directory}") is null && made.Bytes > 0 ? "let go of" : "left over");
    return;
}

// What only a process of its own can show: SYSROOT FILE writes a file below a read-only mount, in a namespace that no other program sees.
// Prints its arguments, as they survived, and what it found.
PrivateMounts.Enter();
Console.WriteLine($"arguments: {string.Join('|', args)}");
using PrivateMounts mounts = PrivateMounts.Open(args[0]);
File.WriteAllText(Path.Combine(mounts.Sysroot, args[1]), "written\n");
Console.WriteLine("written");
if (args.Length > 2)
    Console.WriteLine($"esp: {string.Join(' ', Directory.EnumerateFileSystemEntries(mounts.MountEsp()).Order(StringComparer.Ordinal))}");
