using System.Diagnostics;
using System.Text;
using Sbox.Linux;
using Sbox.Tomb;
using Sbox.Tomb.Sessions;
using Sbox.Tomb.Tests.Mounting;

// Opens a tomb, and saves and folds again and again until it is killed; says each snapshot that it saved.
// Arguments: the tomb, its password, the mount point, the run directory; and "silent" for a remote that falls silent when the home is there, before its hooks are looked for.
using var password = new SecretMemory(Encoding.UTF8.GetBytes(args[1]));
bool silent = args is [.., "silent"];
await using var backend = new UnsteadyBackend(new DirectoryBackend(args[0])) { FallsSilent = () => silent && MountTable.At(args[2]) is not null };
TombRepository tomb = await TombRepository.Open(backend, password, default);
var options = new SessionOptions { Name = "victim", MountPoint = args[2], RunDirectory = args[3], MemoryLimit = "256m", Hooks = silent ? new HookOwner("", 54321, 54321, args[2]) : null };
await using TombSession session = await TombSession.Open(tomb, options, default);
Console.WriteLine($"open {(session.Recovered ? "again" : "anew")}");
var random = new Random();
const string write = "cd \"$1\" && head -c 1500000 /dev/urandom | split -b 60000 -d -a 3 - \"f$2-\" && find -type f ! -name manifest -print0 | xargs -0 sha256sum > manifest";
for (int round = 0; ; round++)
{
    // Another process writes, as in life. What it lists is what the save that follows must hold.
    using (Process writer = Process.Start("sh", ["-c", write, "sh", args[2], $"{random.Next(2)}"]))
        await writer.WaitForExitAsync();

    if (round % 3 == 1)
        await session.Fold(default);
    else
        await session.Save(default);
    Console.WriteLine($"saved {session.Latest!.Id}");
}
