using System.Globalization;
using System.Text.Json;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>What health checks said, for people and for programs.</summary>
internal static class HealthText
{
    /// <summary>The login messages: what became of a trial, and the checks that failed.</summary>
    public const string Trial = "health", FailedChecks = "checks";

    private const int Shown = 4;

    /// <summary>One line about those that failed; null where none did.</summary>
    public static string? Line(IReadOnlyList<HealthFinding> failed) => failed switch
    {
        [] => null,
        [var only] => $"the {(only.IsRequired ? "required" : "wanted")} check {only.Path} failed: {only.Failure} (sbox health asks again)",
        _ => string.Create(CultureInfo.InvariantCulture, $"{failed.Count} checks failed: {string.Join(", ", failed.Take(Shown).Select(static each => Path.GetFileName(each.Path)))}{(failed.Count > Shown ? ", ..." : "")} (sbox health asks again)"),
    };

    /// <summary>One of them, as properties.</summary>
    public static void Write(Utf8JsonWriter writer, HealthFinding finding)
    {
        writer.WriteString("check", finding.Path);
        writer.WriteBoolean("required", finding.IsRequired);
        writer.WriteString("failure", finding.Failure);
    }
}
