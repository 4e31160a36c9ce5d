namespace Sbox.Integrity.Tests;

/// <summary>One way in, of tests/red-team/ways: what is run as root on a box, and what the sentinel has to say.</summary>
/// <param name="Name">What it does.</param>
/// <param name="Expected">Findings of which one has to come; empty for normal life, where none may.</param>
/// <param name="Attack">For bash.</param>
/// <param name="Cleanup">For bash, afterwards.</param>
public sealed record Way(string Name, IReadOnlyList<string> Expected, string Attack, string Cleanup)
{
    /// <summary>Findings that may come besides, of another eye: mounting a device writable opens it for writing. No others may.</summary>
    public IReadOnlyList<string> Besides { get; init; } = [];

    /// <summary>Reads the file.</summary>
    public static IReadOnlyList<Way> ReadAll(string file)
    {
        var ways = new List<Way>();
        foreach (string section in File.ReadAllText(file).Split("\n## ").Skip(1))
        {
            string[] lines = section.Split('\n');
            if (!lines[1].StartsWith("! ", StringComparison.Ordinal))
                throw new FormatException($"{file}: '{lines[0]}' does not say what is expected");
            string[] rest = lines[2..];
            int cut = Array.IndexOf(rest, "--");
            string[] found = lines[1][2..].Split(", ");
            ways.Add(new Way(
                lines[0], found is ["nothing"] ? [] : found[0].Split('|'),
                string.Join('\n', cut < 0 ? rest : rest[..cut]).Trim(), string.Join('\n', cut < 0 ? [] : rest[(cut + 1)..]).Trim())
            {
                Besides = found[1..],
            });
        }

        return ways;
    }
}
