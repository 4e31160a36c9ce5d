using Tomlyn.Parsing;
using Tomlyn.Syntax;

namespace Sbox.Tomb;

/// <summary>A line of a settings file that cannot be heeded.</summary>
/// <param name="path">The file.</param>
/// <param name="line">The line, from 1.</param>
/// <param name="finding">What is wrong with it.</param>
public sealed class TombSettingsException(string path, int line, string finding) : Exception($"{path}:{line}: {finding}");

/// <summary>What a user need not type: a TOML file with the tomb's place and where its secrets are.</summary>
public sealed record TombSettings
{
    /// <summary>Where the tomb is.</summary>
    public string? Tomb { get; init; }

    /// <summary>A file whose first line is the password.</summary>
    public string? PasswordFile { get; init; }

    /// <summary>A file out of which a FIDO2 token makes the password, where no file has it.</summary>
    public string? TokenFile { get; init; }

    /// <summary>A path without which an open tomb is slammed, or <c>fido2</c>.</summary>
    public string? SlamWithout { get; init; }

    /// <summary>Where an open home keeps what is not saved yet; null for memory.</summary>
    public string? Scratch { get; init; }

    /// <summary>How much memory that may take: <c>2g</c>, <c>50%</c>; null for what is usual.</summary>
    public string? Memory { get; init; }

    /// <summary>What is saved when no path is named.</summary>
    public IReadOnlyList<string> Paths { get; init; } = [];

    /// <summary>What is not saved.</summary>
    public IReadOnlyList<string> Excludes { get; init; } = [];

    /// <summary>How a far place is reached.</summary>
    public BackendSettings Backend { get; init; } = new();

    /// <summary>Reads a file: keys at its top, and those of the table <c>[NAME]</c> over them when a name is given.</summary>
    /// <param name="path">The file.</param>
    /// <param name="name">Which of several tombs; null for the top alone.</param>
    /// <exception cref="TombSettingsException">A line cannot be heeded, or there is no such table.</exception>
    public static TombSettings Read(string path, string? name)
    {
        DocumentSyntax document = SyntaxParser.Parse(File.ReadAllText(path), path, validate: true);
        foreach (DiagnosticMessage message in document.Diagnostics)
        {
            if (message.Kind == DiagnosticMessageKind.Error)
                throw new TombSettingsException(path, message.Span.Start.Line + 1, message.Message.TrimEnd('.'));
        }

        var settings = new TombSettings();
        foreach (KeyValueSyntax pair in document.KeyValues)
            settings = settings.With(path, pair);
        if (name is null)
            return settings;
        TableSyntaxBase table = document.Tables.FirstOrDefault(each => each.Name?.ToString().Trim() == name) ?? throw new TombSettingsException(path, 1, $"there is no [{name}]");
        foreach (KeyValueSyntax pair in table.Items)
            settings = settings.With(path, pair);
        return settings;
    }

    private TombSettings With(string path, KeyValueSyntax pair)
    {
        string key = pair.Key?.ToString().Trim() ?? "";
        return key switch
        {
            "tomb" => this with { Tomb = Text(path, pair) },
            "password-file" => this with { PasswordFile = Expand(Text(path, pair)) },
            "fido2-file" => this with { TokenFile = Expand(Text(path, pair)) },
            "slam-without" => this with { SlamWithout = Expand(Text(path, pair)) },
            "scratch" => this with { Scratch = Expand(Text(path, pair)) },
            "memory" => this with { Memory = Text(path, pair) },
            "paths" => this with { Paths = [.. Texts(path, pair).Select(Expand)] },
            "exclude" => this with { Excludes = Texts(path, pair) },
            "rest-password-file" => this with { Backend = Backend with { RestPasswordFile = Expand(Text(path, pair)) } },
            "s3-credentials-file" => this with { Backend = Backend with { S3CredentialsFile = Expand(Text(path, pair)) } },
            "s3-profile" => this with { Backend = Backend with { S3Profile = Text(path, pair) } },
            "s3-region" => this with { Backend = Backend with { S3Region = Text(path, pair) } },
            "ssh-command" => this with { Backend = Backend with { SshCommand = Texts(path, pair) is { Count: > 0 } words ? words : throw Wrong(path, pair, "a list of words, ssh first") } },
            "cache-directory" => this with { Backend = Backend with { CacheDirectory = Expand(Text(path, pair)) } },
            "password" => throw Wrong(path, pair, "a password does not belong here: name a file that only you can read with password-file"),
            _ => throw Wrong(path, pair, $"'{key}' is not known here"),
        };
    }

    private static string Text(string path, KeyValueSyntax pair) => pair.Value is StringValueSyntax { Value: { } text } ? text : throw Wrong(path, pair, $"{pair.Key?.ToString().Trim()} is a text in quotes");

    private static IReadOnlyList<string> Texts(string path, KeyValueSyntax pair) => pair.Value is ArraySyntax array
        ? [.. array.Items.Select(item => item.Value is StringValueSyntax { Value: { } text } ? text : throw Wrong(path, pair, $"{pair.Key?.ToString().Trim()} is a list of texts in quotes"))]
        : throw Wrong(path, pair, $"{pair.Key?.ToString().Trim()} is a list of texts in quotes");

    private static string Expand(string path) => path.StartsWith("~/", StringComparison.Ordinal) ? Path.Combine(Environment.GetEnvironmentVariable("HOME") ?? "/root", path[2..]) : path;

    private static TombSettingsException Wrong(string path, KeyValueSyntax pair, string finding) => new(path, pair.Span.Start.Line + 1, finding);
}
