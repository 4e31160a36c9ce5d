using System.CommandLine;

namespace Sbox.Cli.Help;

/// <summary>A command that also carries what its manual page says beyond its options.</summary>
internal sealed class DocumentedCommand(string name, string description) : Command(name, description)
{
    /// <summary>Paragraphs of the manual's DESCRIPTION, after the one-line description.</summary>
    public IReadOnlyList<string> Details { get; init; } = [];

    /// <summary>Exit codes beyond those that every command has, or with another meaning.</summary>
    public IReadOnlyList<(int Code, string Meaning)> ExitCodes { get; init; } = [];

    /// <summary>What a person may type, with what it does.</summary>
    public IReadOnlyList<Example> Examples { get; init; } = [];
}

/// <summary>One example of a manual page.</summary>
/// <param name="What">What it does, as a sentence.</param>
/// <param name="Typed">What is typed.</param>
internal sealed record Example(string What, string Typed);
