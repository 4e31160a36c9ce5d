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
byte[] bytes = new byte[60_000];
for (int round = 0; ; round++)
{
    for (int file = 0; file < 150; file++)
    {
        random.NextBytes(bytes);
        File.WriteAllBytes($"{args[2]}/f{random.Next(300)}", bytes);
    }

    if (round % 3 == 1)
        await session.Fold(default);
    else
        await session.Save(default);
    Console.WriteLine($"saved {session.Latest!.Id}");
}
