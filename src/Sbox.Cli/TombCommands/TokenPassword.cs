using System.Buffers.Text;
using System.CommandLine;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Tomb;

namespace Sbox.Cli.TombCommands;

/// <summary>Passwords that nobody knows: a FIDO2 token makes one anew each time, out of a file that is no secret.</summary>
/// <param name="device">The token's device; null for the only one that is plugged in.</param>
/// <param name="pinFile">A file whose first line is its PIN; null to ask the terminal where the token wants one.</param>
/// <param name="speaker">Says when to touch it.</param>
internal sealed class TokenPassword(string? device, string? pinFile, Speaker speaker)
{
    /// <summary>As the command line names the token.</summary>
    public static TokenPassword Of(ParseResult parsed, Speaker speaker) => new(parsed.GetValue(TombSession.TokenDevice), parsed.GetValue(TombSession.TokenPinFile), speaker);

    /// <summary>Has the token make a new secret, and writes what asks for it into a new file.</summary>
    /// <returns>The password, and the file's whole path.</returns>
    public (SecretMemory Password, string File) Enrol(string path)
    {
        string full = Path.GetFullPath(path);
        using Dir parent = Dir.Open(Path.GetDirectoryName(full)!);
        if (parent.Exists(Path.GetFileName(full)))
            throw new Finding($"{full}: there is such a file already", "Name a new one: what is in this one may be all that asks a token for a key");
        using Fido2Token token = Open();
        using SecretMemory? pin = token.HasPin ? Pin() : null;
        speaker.Note($"{token.Path}: touch the token, twice");
        byte[] credential = token.MakeCredential(TokenKey.Party, "tomb", pin);
        var key = new TokenKey(credential, RandomNumberGenerator.GetBytes(Fido2Token.SecretLength), pin is not null);
        SecretMemory password = Ask(token, key, pin);
        try
        {
            Write(parent, Path.GetFileName(full), key.ToBytes());
        }
        catch
        {
            password.Dispose();
            parent.TryUnlink(Path.GetFileName(full)); // the next try would take it for one that a token answers to
            throw;
        }

        return (password, full);
    }

    private static void Write(Dir parent, string name, byte[] bytes)
    {
        using SafeFileHandle file = parent.CreateFile(name, 0x180 /* 0600 */);
        Files.WriteAt(file, bytes, 0, parent.Of(name));
        Durable.Sync(file, parent.Of(name));
        Durable.Sync(parent);
    }

    /// <summary>The password that the token makes of a file that <see cref="Enrol"/> wrote.</summary>
    public SecretMemory Of(string path)
    {
        TokenKey key = TokenKey.Parse(File.ReadAllBytes(path));
        using Fido2Token token = Open();
        using SecretMemory? pin = key.WithPin ? Pin() : null;
        speaker.Note($"{token.Path}: touch the token");
        return Ask(token, key, pin);
    }

    private Fido2Token Open() => Fido2Token.Open(Device());

    /// <summary>The token's device: the one that is named, or the only one.</summary>
    /// <exception cref="Finding">There is none, or several.</exception>
    public string Device()
    {
        if (!Fido2Token.IsThere)
            throw new Finding("this machine has no libfido2.so.1, which speaks to FIDO2 tokens", "apt install libfido2-1; on a box, whose system never changes: libfido2-1 among its recipe's packages");
        if (device is not null)
            return device;
        IReadOnlyList<Fido2Device> there = Fido2Token.Devices();
        return there.Count == 1 ? there[0].Path : throw new Finding(
            there.Count == 0 ? "no FIDO2 token is plugged in, or this user may not open it" : $"{there.Count} FIDO2 tokens are plugged in: {string.Join(", ", there.Select(static each => $"{each.Path} ({each.Name})"))}",
            there.Count == 0 ? "Plug it in; or name its device with --fido2-device /dev/hidrawN" : "Name one with --fido2-device");
    }

    private SecretMemory Pin()
    {
        if (pinFile is null && Console.IsInputRedirected)
            throw new Finding("there is no terminal to ask for the token's PIN", "Name a file with it: --fido2-pin-file FILE");
        using SecretMemory typed = pinFile is null ? SecretPrompt.Ask("PIN of the token: ", twice: false) : SecretFile.FirstLine(pinFile);
        if (typed.Span.IsEmpty)
            throw new Finding("the token's PIN is empty", "The token was not asked, and counted nothing: type the same command again");
        var ended = new SecretMemory(typed.Span.Length + 1);
        typed.Span.CopyTo(ended.Span);
        return ended;
    }

    // Text, as restic reads passwords.
    private static SecretMemory Ask(Fido2Token token, TokenKey key, SecretMemory? pin)
    {
        using SecretMemory secret = token.Secret(TokenKey.Party, key.Credential, key.Salt, pin);
        var text = new SecretMemory(Base64Url.GetEncodedLength(Fido2Token.SecretLength));
        Base64Url.EncodeToUtf8(secret.Span, text.Span);
        return text;
    }
}
