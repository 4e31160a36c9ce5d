using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Debian's <c>gpg</c>, run as a child. Bytes go by files and findings come by a status file: nothing that a key's owner or a signature
/// says is ever taken for a finding.
/// </summary>
internal static class Gpg
{
    // What a key with a passphrase needs to ask for it.
    private static readonly string[] Inherited = ["GNUPGHOME", "GPG_TTY", "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

    /// <summary>Signs with a key of a home directory.</summary>
    /// <param name="home">The home directory; null for the user's own.</param>
    /// <param name="keyId">The key, as gpg takes it.</param>
    /// <param name="data">What is signed.</param>
    /// <returns>A detached signature, not armored.</returns>
    /// <exception cref="SignatureException">There is no such key, or gpg could not sign; has its words.</exception>
    public static byte[] Sign(string? home, string keyId, ReadOnlySpan<byte> data)
    {
        if (Run(home, ["--list-secret-keys", "--with-colons", "--", keyId]).ExitCode != 0)
            throw new SignatureException(null, $"No gpg key found with ID {keyId} (homedir: {home ?? "default"})") { IsOurs = true };
        using var scratch = new GpgScratch();
        string content = scratch.Write("data", data), signature = scratch["signature"];
        ChildResult result = Run(home, ["--local-user", keyId, "--output", signature, "--detach-sign", "--", content]);
        return result.ExitCode == 0 && File.Exists(signature)
            ? File.ReadAllBytes(signature)
            : throw new SignatureException(null, $"gpg could not sign with {keyId}: {string.Join("; ", result.LastLines)}") { IsOurs = true };
    }

    /// <summary>Runs gpg.</summary>
    /// <exception cref="SignatureException">There is none.</exception>
    public static ChildResult Run(string? home, IReadOnlyList<string> arguments, Action<string>? onLine = null)
    {
        string[] common = ["--batch", "--no-tty", "--quiet"];
        string[] where = home is null ? [] : ["--homedir", Path.GetFullPath(home)];
        try
        {
            return ChildProcess.Run(
                new ChildCommand("gpg", [.. common, .. where, .. arguments])
                {
                    Environment = Inherited
                        .Select(static name => (name, Environment.GetEnvironmentVariable(name)))
                        .Where(static item => item.Item2 is not null)
                        .ToDictionary(static item => item.name, static item => item.Item2!),
                },
                onLine);
        }
        catch (ChildFailedException missing) when (missing.ExitCode == 127)
        {
            throw new SignatureException("gpg", "it is not installed, and GPG signatures are made and verified by it (Debian's package gpg)", missing);
        }
    }
}

/// <summary>A directory that only its owner may enter, gone at the end.</summary>
internal sealed class GpgScratch : IDisposable
{
    private readonly DirectoryInfo directory = Directory.CreateTempSubdirectory("sbox-gpg-");

    public string Path => directory.FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public string Write(string name, ReadOnlySpan<byte> bytes)
    {
        File.WriteAllBytes(this[name], bytes);
        return this[name];
    }

    public void Dispose()
    {
        try
        {
            directory.Delete(recursive: true);
        }
        catch (IOException)
        {
            // An agent's socket may go away at the same moment; what is left holds nothing secret.
        }
    }
}
