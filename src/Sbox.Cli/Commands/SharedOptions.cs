using System.CommandLine;

namespace Sbox.Cli.Commands;

/// <summary>Options that mean the same wherever they stand.</summary>
internal static class SharedOptions
{
    /// <summary><c>--json</c>.</summary>
    public static Option<bool> Json() => new("--json") { Description = "Answer with one JSON object a line" };

    /// <summary><c>--sysroot</c>.</summary>
    public static Option<string> Sysroot() => new("--sysroot")
    {
        Description = "The physical root to work on; the running box's where it is not said",
        HelpName = "PATH",
        DefaultValueFactory = static _ => "/sysroot",
    };

    /// <summary><c>--esp</c>.</summary>
    public static Option<string?> Esp() => new("--esp")
    {
        Description = "A directory to use as the EFI system partition, with --sysroot; none writes no UKI",
        HelpName = "PATH",
    };
}
