using System.Reflection;

namespace Sbox.Cli;

/// <summary>Which version this is.</summary>
internal static class ProgramVersion
{
    /// <summary>As in Directory.Build.props.</summary>
    public static string Text { get; } = typeof(ProgramVersion).Assembly.GetName().Version is { } version ? version.ToString(3) : "unknown";
}
