namespace Sbox.Sysroot;

/// <summary>Names that a person who uses the box may have, and who is there already.</summary>
public static class UserName
{
    private const int Longest = 32; // what utmp keeps
    private const uint FirstPerson = 1000, LastPerson = 59999; // Debian's adduser and login.defs

    /// <summary>What is wrong with a login name; null where nothing is.</summary>
    public static string? Fault(string name) => name switch
    {
        "" => "a login name has at least one letter",
        _ when name.Length > Longest => $"'{name}' is longer than {Longest} letters",
        [not (>= 'a' and <= 'z'), ..] => $"'{name}': a login name begins with a small letter from a to z",
        _ when name.Any(static letter => letter is not ((>= 'a' and <= 'z') or (>= '0' and <= '9') or '_' or '-')) => $"'{name}': a login name has small letters from a to z, digits, - and _",
        _ => null,
    };

    /// <summary>What is wrong with the name by which a user is called (the comment field of passwd(5)); null where nothing is.</summary>
    public static string? FaultOfFullName(string name) => name.Any(static letter => letter is ':' or ',' or '=' || char.IsControl(letter)) ? $"'{name}': no colon, comma or equals sign, please" : null;

    /// <summary>Suggests a login name for what somebody is called: the first word, where it can be written in one as it is; else empty.</summary>
    public static string Suggest(string fullName)
    {
        string first = fullName.Split(' ', StringSplitOptions.RemoveEmptyEntries).FirstOrDefault("").ToLowerInvariant();
        return Fault(first) is null ? first : "";
    }

    /// <summary>Whether a name is in passwd(5) or group(5).</summary>
    /// <param name="etc">Where they are.</param>
    /// <param name="name">The name.</param>
    public static bool IsTaken(string etc, string name) => Lines($"{etc}/passwd").Concat(Lines($"{etc}/group")).Any(line => line.StartsWith($"{name}:", StringComparison.Ordinal));

    /// <summary>Whether anybody at all can log in with a password, or is a person: a box where nobody can has yet to be told whose it is.</summary>
    /// <param name="etc">Where passwd(5) and shadow(5) are.</param>
    public static bool IsAnyoneThere(string etc) =>
        Lines($"{etc}/passwd").Select(static line => line.Split(':')).Any(static fields => fields.Length > 2 && uint.TryParse(fields[2], out uint id) && id is >= FirstPerson and <= LastPerson)
        || Lines($"{etc}/shadow").Select(static line => line.Split(':')).Any(static fields => fields.Length > 1 && (fields[1] is "" or ['$' or '_', ..]));

    private static IEnumerable<string> Lines(string file) => File.Exists(file) ? File.ReadLines(file) : [];
}
