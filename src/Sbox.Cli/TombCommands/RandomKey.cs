using System.Buffers.Text;
using System.ComponentModel;
using System.Diagnostics;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Cli.TombCommands;

/// <summary>Keys that nobody types: 256 random bits as text, in a file or sealed to this machine.</summary>
internal static class RandomKey
{
    private const string Sealed = "/etc/credstore.encrypted";

    public static SecretMemory Make()
    {
        using var bits = new SecretMemory(32);
        RandomNumberGenerator.Fill(bits.Span);
        var text = new SecretMemory(Base64Url.GetEncodedLength(32));
        Base64Url.EncodeToUtf8(bits.Span, text.Span);
        return text;
    }

    /// <summary>Writes it into a new file that only its owner reads.</summary>
    /// <returns>The file.</returns>
    public static string Write(SecretMemory key, string path)
    {
        string full = Path.GetFullPath(path);
        using Dir parent = Dir.Open(Path.GetDirectoryName(full)!);
        using SafeFileHandle file = parent.CreateFile(Path.GetFileName(full), 0x180 /* 0600 */);
        Files.WriteAt(file, key.Span, 0, full);
        Files.WriteAt(file, "\n"u8, key.Span.Length, full);
        Durable.Sync(file, full);
        Durable.Sync(parent);
        return full;
    }

    /// <summary>Seals it as the credential of a user's unit.</summary>
    /// <returns>The credential.</returns>
    public static string Seal(SecretMemory key, string user, string with)
    {
        string credential = $"{Sealed}/tomb-{user}";
        using (Dir root = Dir.Open("/"))
            root.MakeDirs(Sealed.TrimStart('/'), 0x1C0 /* 0700 */);
        if (File.Exists(credential))
            throw new Finding($"{credential}: there is one already", "Remove it first, and its key: sbox tomb key list");
        var start = new ProcessStartInfo("systemd-creds", ["encrypt", $"--with-key={with}", $"--name=tomb-{user}", "-", credential]) { RedirectStandardInput = true, RedirectStandardError = true };
        try
        {
            using Process sealing = Process.Start(start)!;
            Task<string> said = sealing.StandardError.ReadToEndAsync();
            sealing.StandardInput.BaseStream.Write(key.Span);
            sealing.StandardInput.Close();
            sealing.WaitForExit();
            return sealing.ExitCode == 0 ? credential
                : throw new Finding($"systemd-creds could not seal the key: {said.Result.Trim()}", "--with-key host seals it to this machine's disk, where there is no TPM");
        }
        catch (Win32Exception missing)
        {
            throw new Finding($"systemd-creds: {missing.Message}", "It comes with systemd");
        }
    }
}
