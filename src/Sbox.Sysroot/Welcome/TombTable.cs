using System.Text;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A user's table in <c>/etc/sbox/tomb.toml</c>, by which their tomb is opened at login.</summary>
public static class TombTable
{
    /// <summary>The file, below /etc.</summary>
    public const string File = "sbox/tomb.toml";

    private static readonly string[] Schemes = ["sftp:", "rest:", "s3:"];

    /// <summary>What is wrong with an address, as far as its form tells; null where nothing is.</summary>
    public static string? Fault(string address) => address switch
    {
        "" => "an address is missing",
        _ when address.AsSpan().ContainsAny('"', '\\') || address.Any(char.IsControl) => "an address has no quotes, backslashes or control characters",
        ['/', _, ..] => null,
        _ when Schemes.FirstOrDefault(scheme => address.StartsWith(scheme, StringComparison.Ordinal)) is { } scheme => address.Length > scheme.Length ? null : $"'{address}' goes on behind the colon",
        _ => $"'{address}' is no address of a tomb: it begins with sftp:, rest:, s3: or a slash",
    };

    /// <summary>Adds a user's table; one that is there already stays as it is.</summary>
    /// <param name="etc">/etc.</param>
    /// <param name="user">Whose.</param>
    /// <param name="address">Where the tomb is.</param>
    /// <returns>Whether it was added.</returns>
    public static bool Add(Dir etc, string user, string address)
    {
        if (Fault(address) is { } fault)
            throw new ArgumentException(fault, nameof(address));
        using Dir sbox = etc.MakeAndOpenDir("sbox");
        string text = sbox.TryReadAll("tomb.toml") is { } bytes ? Encoding.UTF8.GetString(bytes) : "";
        if (text.Split('\n').Any(line => line.Trim() == $"[{user}]"))
            return false;
        string gap = text.Length == 0 ? "" : text.EndsWith('\n') ? "\n" : "\n\n";
        Durable.Replace(sbox, "tomb.toml", Encoding.UTF8.GetBytes($"{text}{gap}[{user}]\ntomb = \"{address}\"\n"));
        return true;
    }
}
