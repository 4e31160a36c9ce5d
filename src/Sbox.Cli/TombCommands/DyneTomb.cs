using System.Buffers.Binary;
using System.CommandLine;
using System.ComponentModel;
using System.Diagnostics;
using Sbox.Cli.Commands;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb;

namespace Sbox.Cli.TombCommands;

/// <summary>
/// A tomb of dyne's, open for an import: a disk of LUKS1 in a file, its key in another, sealed by GPG under a password. Another process deciphers it, <c>sbox tomb luks</c>, which ends
/// when this one closes its pipe or dies.
/// </summary>
internal sealed class DyneTomb : IDisposable
{
    private const string Places = "/run/sbox/import";
    private const int LongestKey = 64 * 1024;
    private static readonly Argument<string> Disk = new("FILE") { Description = "The disk in a file" };
    private static readonly Option<string> At = new("--at") { Description = "Where it is seen", Required = true, HelpName = "DIR" };

    private readonly Process server;

    private DyneTomb(Process server, string place) => (this.server, Place) = (server, place);

    /// <summary>Where its files are.</summary>
    public string Place { get; }

    /// <summary>Whether a file is such a disk.</summary>
    public static bool IsOne(string path)
    {
        if (!File.Exists(path))
            return false;
        var magic = new byte[Luks1Header.Magic.Length];
        using FileStream file = File.OpenRead(path);
        file.ReadAtLeast(magic, magic.Length, throwOnEndOfStream: false);
        return magic.AsSpan().SequenceEqual(Luks1Header.Magic);
    }

    /// <summary>Opens one; its file is only read.</summary>
    /// <param name="path">The file.</param>
    /// <param name="keyFile">Its key.</param>
    /// <param name="password">The key's password.</param>
    /// <exception cref="Finding">It cannot be opened.</exception>
    public static DyneTomb Open(string path, string keyFile, SecretMemory password)
    {
        if (!Environment.IsPrivilegedProcess)
            throw new Finding("only root may mount, which reading a tomb of dyne's takes", $"sudo sbox tomb import {path}");
        using SecretMemory key = Key(keyFile, password);
        string place = $"{Places}/{Path.GetFileNameWithoutExtension(path)}";
        if (MountTable.At(place) is not null && MountUsers.Of([place]) is [var user, ..])
            throw new Finding($"{place}: it is mounted there already, and {user.Program} ({user.Process}) uses it", "Wait for its end");
        string self = Environment.ProcessPath!;
        string[] program = Path.GetFileName(self) == "dotnet" ? [Environment.GetCommandLineArgs()[0]] : [];
        Process server = Process.Start(new ProcessStartInfo(self, [.. program, "tomb", "luks", Path.GetFullPath(path), "--at", place]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        Span<byte> length = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32BigEndian(length, key.Span.Length);
        server.StandardInput.BaseStream.Write(length);
        server.StandardInput.BaseStream.Write(key.Span);
        server.StandardInput.BaseStream.Flush();
        return server.StandardOutput.ReadLine() is not null ? new DyneTomb(server, place)
            : throw new Finding($"{path}: it could not be opened; why is said above", "sbox tomb import --help");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        server.StandardInput.Close();
        server.WaitForExit();
        server.Dispose();
    }

    /// <summary>The process that deciphers.</summary>
    public static Command Server()
    {
        Command command = new DocumentedCommand("luks", "Serve the disk in a file until standard input ends; import runs this") { Hidden = true }.With(Disk, At);
        command.SetAction(parsed =>
        {
            ThisProcess.ForbidDumps();
            using Stream input = Console.OpenStandardInput();
            using SecretMemory key = Received(input);
            using MountedLuks mounted = MountedLuks.Mount(parsed.GetValue(Disk)!, key, parsed.GetValue(At)!);
            Console.WriteLine("open");
            _ = input.ReadByte(); // for as long as whoever started this lives, and wants it
            return 0;
        });
        return command;
    }

    private static SecretMemory Received(Stream input)
    {
        Span<byte> length = stackalloc byte[sizeof(int)];
        input.ReadExactly(length);
        var key = new SecretMemory(Math.Clamp(BinaryPrimitives.ReadInt32BigEndian(length), 0, LongestKey));
        input.ReadExactly(key.Span);
        return key;
    }

    private static SecretMemory Key(string keyFile, SecretMemory password)
    {
        if (!File.Exists(keyFile))
            throw new Finding($"{keyFile}: there is no such key", "--key FILE names the key of dyne's tomb");
        RefuseWhatIsNoPlainKey(keyFile);
        var start = new ProcessStartInfo("gpg", ["--batch", "--no-tty", "--quiet", "--no-permission-warning", "--pinentry-mode", "loopback", "--passphrase-fd", "0", "--decrypt", keyFile])
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
        };
        try
        {
            using Process gpg = Process.Start(start)!;
            Task<string> said = gpg.StandardError.ReadToEndAsync();
            gpg.StandardInput.BaseStream.Write(password.Span);
            gpg.StandardInput.BaseStream.Write("\n"u8);
            gpg.StandardInput.Close();
            using var key = new SecretMemory(LongestKey);
            int length = gpg.StandardOutput.BaseStream.ReadAtLeast(key.Span, LongestKey, throwOnEndOfStream: false);
            gpg.WaitForExit();
            return gpg.ExitCode == 0 ? new SecretMemory(key.Span[..length].TrimEnd((byte)'\n')) // as the shell that dyne's Tomb is written in hands it on
                : throw new Finding($"{keyFile}: gpg does not open it: {said.Result.Trim()}", "Is it the key's password, and not the tomb's?");
        }
        catch (Win32Exception missing)
        {
            throw new Finding($"gpg: {missing.Message}", "apt install gpg");
        }
    }

    private static void RefuseWhatIsNoPlainKey(string keyFile)
    {
        var begin = new byte[8];
        using (FileStream file = File.OpenRead(keyFile))
            file.ReadAtLeast(begin, begin.Length, throwOnEndOfStream: false);
        if (begin.AsSpan().StartsWith((byte[])[0xFF, 0xD8]))
            throw new Finding($"{keyFile}: the key is hidden in a picture", $"tomb exhume {keyFile} -k FILE, then --key FILE");
        if (begin.AsSpan().StartsWith("_KDF_"u8))
            throw new Finding($"{keyFile}: the key's password is hardened by dyne's own derivation, which this does not know", "tomb setkey without --kdf makes a plain key of it");
    }
}
