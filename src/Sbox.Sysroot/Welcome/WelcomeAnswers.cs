using Sbox.Linux;
using Tomlyn.Syntax;

namespace Sbox.Sysroot;

/// <summary>A file of answers to a new box's questions that cannot be heeded.</summary>
/// <param name="path">The file.</param>
/// <param name="line">The line, from 1.</param>
/// <param name="finding">What is wrong with it.</param>
public sealed class WelcomeAnswersException(string path, int line, string finding) : SysrootException($"{path}:{line}: {finding}")
{
    /// <summary>The file.</summary>
    public string Path { get; } = path;
}

/// <summary>
/// Answers to the questions of a new box's first boot, from a file, so that nobody is asked: TOML without tables. What a file does not
/// say is not done. Passwords are in secret memory from the first byte on (<see cref="SecretLines"/>), until this is disposed.
/// </summary>
public sealed record WelcomeAnswers : IDisposable
{
    private const string Known = "keyboard, user, full-name, password, password-hash, sudo, tomb, tomb-is-new, wifi or wifi-password";

    /// <summary>What systemd calls the credential.</summary>
    public const string Credential = "sbox.welcome";

    /// <summary>A layout's code, with a variant behind a space: <c>de nodeadkeys</c>. Null for no change.</summary>
    public string? Keyboard { get; init; }

    /// <summary>The login name of the user to make; null for nobody.</summary>
    public string? User { get; init; }

    /// <summary>What the user is called.</summary>
    public string FullName { get; init; } = "";

    /// <summary>The user's password; null where there is only a hash.</summary>
    public SecretMemory? Password { get; init; }

    /// <summary>The hash of it, as <c>openssl passwd -6</c> prints it; a tomb cannot be made or tried with that.</summary>
    public string? PasswordHash { get; init; }

    /// <summary>Whether the user may become root.</summary>
    public bool Sudo { get; init; } = true;

    /// <summary>Where the user's tomb is; null for none.</summary>
    public string? Tomb { get; init; }

    /// <summary>Whether it is to be made.</summary>
    public bool TombIsNew { get; init; }

    /// <summary>The name of a wireless network; null for none.</summary>
    public string? Wifi { get; init; }

    /// <summary>Its password; null for an open one.</summary>
    public SecretMemory? WifiPassword { get; init; }

    /// <summary>Where answers are looked for, the first that is there: systemd's credential, the owner's, what the tree brings.</summary>
    /// <param name="credentials">Systemd's directory of credentials; null where it gave none.</param>
    public static IReadOnlyList<string> Files(string? credentials) =>
        [.. credentials is null ? [] : new[] { $"{credentials}/{Credential}" }, "/etc/sbox/welcome.toml", "/usr/lib/sbox/welcome.toml"];

    /// <summary>Reads the first file that is there; an empty one asks nothing and does nothing.</summary>
    /// <returns>Null where none is there.</returns>
    /// <exception cref="WelcomeAnswersException">A line cannot be heeded; nothing was done.</exception>
    public static WelcomeAnswers? Read(params IReadOnlyList<string> files)
    {
        if (files.FirstOrDefault(File.Exists) is not { } file)
            return null;
        using SecretLines lines = SecretLines.Read(file, "password", "wifi-password");
        var answers = new WelcomeAnswers();
        try
        {
            int user = 0;
            foreach (KeyValueSyntax pair in FlatToml.Parse(file, lines.Text, (line, finding) => new WelcomeAnswersException(file, line, finding)).KeyValues)
            {
                answers = answers.With(file, pair, lines);
                user = FlatToml.KeyOf(pair) == "user" ? FlatToml.LineOf(pair) : user;
            }

            return answers.Contradiction() is { } found ? throw new WelcomeAnswersException(file, Math.Max(1, user), found) : answers;
        }
        catch
        {
            answers.Dispose();
            throw;
        }
    }

    /// <summary>Zeroes the passwords.</summary>
    public void Dispose()
    {
        Password?.Dispose();
        WifiPassword?.Dispose();
    }

    private string? Contradiction() => this switch
    {
        { User: { } name } when UserName.Fault(name) is { } fault => fault,
        { User: not null, Password: null, PasswordHash: null } => "the user needs a password or a password-hash",
        { Password: not null, PasswordHash: not null } => "password and password-hash are two answers to one question",
        { User: null, Password: not null } or { User: null, PasswordHash: not null } => "there is a password and no user",
        { User: null, Tomb: not null } => "a tomb is a user's: user is missing",
        { TombIsNew: true, Tomb: null } => "tomb-is-new without tomb",
        { TombIsNew: true, Password: null } => "a new tomb is made with the user's password, not with its hash",
        _ => null,
    };

    private WelcomeAnswers With(string file, KeyValueSyntax pair, SecretLines lines) => FlatToml.KeyOf(pair) switch
    {
        "keyboard" => this with { Keyboard = Text(file, pair) },
        "user" => this with { User = Text(file, pair) },
        "full-name" => this with { FullName = Text(file, pair) is { } name && UserName.FaultOfFullName(name) is { } fault ? throw Wrong(file, pair, fault) : Text(file, pair) },
        "password" => this with { Password = Secret(file, pair, lines) ?? throw Wrong(file, pair, "password is empty") },
        "password-hash" => this with { PasswordHash = Line(file, pair) },
        "sudo" => this with { Sudo = Truth(file, pair) },
        "tomb" => this with { Tomb = TombTable.Fault(Text(file, pair)) is { } fault ? throw Wrong(file, pair, fault) : Text(file, pair) },
        "tomb-is-new" => this with { TombIsNew = Truth(file, pair) },
        "wifi" => this with { Wifi = Line(file, pair) },
        "wifi-password" => this with { WifiPassword = Secret(file, pair, lines) },
        var other => throw Wrong(file, pair, $"'{other}' is not known here; expected {Known}"),
    };

    private static string Text(string file, KeyValueSyntax pair) => pair.Value is StringValueSyntax { Value: { } text } ? text : throw Wrong(file, pair, $"{FlatToml.KeyOf(pair)} is a text in quotes");

    private static string Line(string file, KeyValueSyntax pair) => Text(file, pair) is var text && text.AsSpan().ContainsAny('\n', '\r', '\0')
        ? throw Wrong(file, pair, $"{FlatToml.KeyOf(pair)} is one line") : Text(file, pair);

    // Null where nothing is between the quotes.
    private static SecretMemory? Secret(string file, KeyValueSyntax pair, SecretLines lines)
    {
        SecretMemory secret = lines.Take(Text(file, pair)) ?? throw Wrong(file, pair, $"{FlatToml.KeyOf(pair)} is one line, in one pair of quotes");
        if (secret.Span.ContainsAny((byte)'\n', (byte)'\r', (byte)'\0') || secret.Span.IsEmpty)
        {
            bool isEmpty = secret.Span.IsEmpty;
            secret.Dispose();
            return isEmpty ? null : throw Wrong(file, pair, $"{FlatToml.KeyOf(pair)} is one line");
        }

        return secret;
    }

    private static bool Truth(string file, KeyValueSyntax pair) => pair.Value is BooleanValueSyntax truth ? truth.Value : throw Wrong(file, pair, $"{FlatToml.KeyOf(pair)} is true or false");

    private static WelcomeAnswersException Wrong(string file, KeyValueSyntax pair, string finding) => new(file, FlatToml.LineOf(pair), finding);
}
