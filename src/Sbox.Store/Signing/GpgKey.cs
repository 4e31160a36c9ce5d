using System.Globalization;
using System.Text;

namespace Sbox.Store;

/// <summary>A public key in a GPG keyring, as <c>--with-colons</c> lists it.</summary>
/// <param name="Created">Seconds since 1970.</param>
/// <param name="Expires">Seconds since 1970; 0 for never.</param>
/// <param name="Validity">gpg's letter: <c>r</c> revoked, <c>e</c> expired.</param>
public sealed record GpgKey(long Created, long Expires, char Validity)
{
    private readonly List<GpgKey> subkeys = [];
    private readonly List<(string User, char Validity)> users = [];

    /// <summary>Its fingerprint.</summary>
    public string Fingerprint { get; private set; } = "";

    /// <summary>Its user ids, each with gpg's letter of validity.</summary>
    public IReadOnlyList<(string User, char Validity)> Users => users;

    /// <summary>Its subkeys.</summary>
    public IReadOnlyList<GpgKey> Subkeys => subkeys;

    /// <summary>Its own fingerprint, then those of its subkeys.</summary>
    internal IReadOnlyList<string> Fingerprints => [Fingerprint, .. subkeys.Select(static sub => sub.Fingerprint)];

    internal long ExpiryOf(string fingerprint) =>
        subkeys.Find(sub => sub.Fingerprint.EndsWith(fingerprint, StringComparison.Ordinal))?.Expires ?? Expires;

    /// <summary>The keys in a home directory, all or those by an id.</summary>
    internal static List<GpgKey> List(string home, string? id = null)
    {
        var keys = new List<GpgKey>();
        string[] which = id is null ? [] : ["--", id];
        Gpg.Run(home, ["--no-autostart", "--no-auto-check-trustdb", "--with-colons", "--fixed-list-mode", "--list-keys", .. which], line => Read(line.Split(':'), keys));
        return keys;
    }

    /// <summary>Name and address in <c>Name (comment) &lt;address&gt;</c>.</summary>
    internal static (string Name, string Email) Person(string user)
    {
        int open = user.LastIndexOf('<'), comment = user.IndexOf(" (", StringComparison.Ordinal);
        string email = open >= 0 && user.EndsWith('>') ? user[(open + 1)..^1] : "";
        string name = open >= 0 ? user[..open].TrimEnd() : user;
        return (comment >= 0 && comment < name.Length ? name[..comment] : name, email);
    }

    /// <summary>Undoes gpg's escapes: <c>\xHH</c> in listings, <c>%HH</c> in status lines.</summary>
    internal static string Unescape(string text, char mark)
    {
        var bytes = new List<byte>();
        for (int at = 0; at < text.Length; at++)
        {
            int digits = mark == '%' ? at + 1 : at + 2;
            if (text[at] == mark && digits + 2 <= text.Length && (mark == '%' || text[at + 1] == 'x') &&
                byte.TryParse(text.AsSpan(digits, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte value))
            {
                bytes.Add(value);
                at = digits + 1;
            }
            else
            {
                bytes.AddRange(Encoding.UTF8.GetBytes(text, at, 1));
            }
        }

        return Encoding.UTF8.GetString([.. bytes]);
    }

    // doc/DETAILS: 0 type, 1 validity, 5 created, 6 expires, 9 user id or fingerprint.
    private static void Read(string[] fields, List<GpgKey> keys)
    {
        if (fields.Length < 10)
            return;
        char validity = fields[1].Length > 0 ? fields[1][0] : '-';
        switch (fields[0])
        {
            case "pub":
                keys.Add(new GpgKey(Number(fields[5]), Number(fields[6]), validity));
                break;
            case "sub" when keys.Count > 0:
                keys[^1].subkeys.Add(new GpgKey(Number(fields[5]), Number(fields[6]), validity));
                break;
            case "fpr" when keys.Count > 0 && (keys[^1].subkeys.Count > 0 ? keys[^1].subkeys[^1] : keys[^1]) is { Fingerprint: "" } last:
                last.Fingerprint = fields[9];
                break;
            case "uid" when keys.Count > 0:
                keys[^1].users.Add((Unescape(fields[9], '\\'), validity));
                break;
        }
    }

    private static long Number(string text) => long.TryParse(text, CultureInfo.InvariantCulture, out long number) ? number : 0;
}
