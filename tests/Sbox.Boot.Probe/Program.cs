using Sbox.Boot;

// What only a process of its own can show: SYSROOT FILE writes a file below a read-only mount, in a namespace that no other program sees.
// Prints its arguments, as they survived, and what it found.
PrivateMounts.Enter();
Console.WriteLine($"arguments: {string.Join('|', args)}");
using PrivateMounts mounts = PrivateMounts.Open(args[0]);
File.WriteAllText(Path.Combine(mounts.Sysroot, args[1]), "written\n");
Console.WriteLine("written");
if (args.Length > 2)
    Console.WriteLine($"esp: {string.Join(' ', Directory.EnumerateFileSystemEntries(mounts.MountEsp()).Order(StringComparer.Ordinal))}");
