namespace Sbox.Codecs;

/// <summary>Bytes that are not what their format says: which format, which part, what was expected and what was found.</summary>
/// <param name="format">The format's name, as docs/formats has it.</param>
/// <param name="part">The field or part that is wrong.</param>
/// <param name="expected">What the format asks for there.</param>
/// <param name="found">What was there.</param>
public class MalformedException(string format, string part, string expected, string found)
    : FormatException($"malformed {format}: {part}: expected {expected}, found {found}")
{
    /// <summary>The format's name.</summary>
    public string Format { get; } = format;

    /// <summary>The field or part that is wrong.</summary>
    public string Part { get; } = part;

    /// <summary>What the format asks for there.</summary>
    public string Expected { get; } = expected;

    /// <summary>What was there.</summary>
    public string Found { get; } = found;
}
