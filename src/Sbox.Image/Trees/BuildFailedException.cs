using Sbox.Linux;

namespace Sbox.Image;

/// <summary>A tool that a build needs failed; nothing was committed, and what the build had mounted and written is gone.</summary>
public sealed class BuildFailedException : Exception
{
    /// <summary>A step that failed because a program did.</summary>
    public BuildFailedException(string step, ChildFailedException cause)
        : base($"{step}: {cause.Message}", cause) =>
        (Step, Tool, ExitCode, LastLines) = (step, cause.Command.Title, cause.ExitCode, cause.LastLines);

    /// <summary>A step that failed by what was found in the tree.</summary>
    public BuildFailedException(string step, string finding)
        : base($"{step}: {finding}") => (Step, Tool, ExitCode, LastLines) = (step, "", 0, []);

    /// <summary>What was being done.</summary>
    public string Step { get; }

    /// <summary>The program that failed; empty when none did.</summary>
    public string Tool { get; }

    /// <summary>Its exit code; 127 when it is not installed.</summary>
    public int ExitCode { get; }

    /// <summary>The end of what it wrote.</summary>
    public IReadOnlyList<string> LastLines { get; }
}
