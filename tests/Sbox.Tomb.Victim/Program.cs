using System.Diagnostics;
using System.Text;
using Sbox.Linux;
using Sbox.Tomb;
using Sbox.Tomb.Sessions;

// Opens a tomb, and saves and folds again and again until it is killed; says each snapshot that it saved.
// Arguments: the tomb, its password, the mount point, the run directory.
using var password = new SecretMemory(Encoding.UTF8.GetBytes(args[1]));
TombRepository tomb = await TombRepository.Open(new DirectoryBackend(args[0]), password, default);
await using TombSession session = await TombSession.Open(tomb, new SessionOptions { Name = "victim", MountPoint = args[2], RunDirectory = args[3], MemoryLimit = "256m" }, default);
Console.WriteLine($"open {(session.Recovered ? "again" : "anew")}");
var random = new Random();
for (int round = 0; ; round++)
{
    // Another process writes: one that waits for its own mount when it is killed could never end, since the mount ends with it.
    using (Process writer = Process.Start("sh", ["-c", $"head -c 9000000 /dev/urandom | split -b 60000 -d -a 3 - '{args[2]}/f{random.Next(2)}-'"]))
        await writer.WaitForExitAsync();

    if (round % 3 == 1)
        await session.Fold(default);
    else
        await session.Save(default);
    Console.WriteLine($"saved {session.Latest!.Id}");
}
