using Sbox.Image;

namespace Sbox.Cli.Commands;

/// <summary>The directory of an owner's keys, looked at before anybody is asked for its passphrase.</summary>
internal static class OwnerDirectory
{
    /// <summary>The keys in it, some of them at least.</summary>
    /// <exception cref="Finding">It is no directory.</exception>
    public static OwnerKeys At(string path) =>
        File.Exists(path) ? throw new Finding($"{path}: it is a file, and an owner's keys are a directory", "sbox keys list FILE shows a key that signs what is published; sbox publish, sbox store sign and sbox trust sign take such a file")
        : Directory.Exists(path) ? new OwnerKeys(path)
        : throw new Finding($"{path}: there is no such directory", "Name the directory that sbox keys init made");

    /// <summary>As the other one, where all keys are wanted.</summary>
    /// <exception cref="Finding">It is no directory, or has no owner's keys.</exception>
    public static OwnerKeys Whole(string path) => At(path) is { } keys && File.Exists(Path.Combine(path, "PK.crt"))
        ? keys
        : throw new Finding($"{path}: no owner's keys are there (there is no PK.crt)", "Name the directory that sbox keys init made; sbox keys list FILE shows a key that signs what is published");
}
