using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Integrity;

/// <summary>The key by which a machine signs what it says of itself. It never leaves the machine; whoever is root there has it.</summary>
public static class MachineKey
{
    /// <summary>Where a box keeps it.</summary>
    public const string DefaultPath = "/var/lib/sbox/machine.key";

    private const uint OwnerOnly = 0x180; // 0600

    /// <summary>Opens the key, making it where there is none.</summary>
    /// <param name="path">The file: PKCS#8 in PEM, readable by root alone.</param>
    /// <exception cref="LinuxException">It cannot be read or made.</exception>
    /// <exception cref="MalformedException">The file is no such key.</exception>
    public static Ed25519Key Open(string path)
    {
        string directory = Path.GetDirectoryName(Path.GetFullPath(path))!, name = Path.GetFileName(path);
        using (Dir root = Dir.Open("/"))
            root.MakeDirs(directory.TrimStart('/') is { Length: > 0 } below ? below : ".");
        using Dir dir = Dir.Open(directory);
        if (dir.TryReadAll(name) is null)
            Make(dir, name);
        byte[] seed = Ed25519Pem.ReadPrivate(Encoding.ASCII.GetString(dir.ReadAll(name)));
        return Ed25519Key.Of(seed);
    }

    // Whole before it has a name, and never in another's place: a key that was used once must not be lost to a race.
    private static void Make(Dir dir, string name)
    {
        using Ed25519Key key = Ed25519Key.Generate();
        using SafeFileHandle file = dir.CreateUnnamed(OwnerOnly);
        RandomAccess.Write(file, Encoding.ASCII.GetBytes(Ed25519Pem.Private(key.ToSeed())), fileOffset: 0);
        Durable.Sync(file, dir.Of(name));
        dir.TryLink(file, name);
        Durable.Sync(dir);
    }
}
