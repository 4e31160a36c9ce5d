using System.Globalization;
using System.Text;

namespace Sbox.Sysroot;

/// <summary>One line of an account file: a name, and fields behind colons.</summary>
/// <param name="Fields">All of it, the name first.</param>
internal sealed record AccountRecord(IReadOnlyList<string> Fields)
{
    public string Name => Fields[0];

    /// <summary>A field; empty where the line is shorter.</summary>
    public string this[int at] => at < Fields.Count ? Fields[at] : "";

    /// <summary>A field as an id; null where it is none.</summary>
    public uint? Id(int at) => uint.TryParse(this[at], NumberStyles.None, CultureInfo.InvariantCulture, out uint id) ? id : null;

    public AccountRecord With(int at, string value) => new([.. Fields.Select((field, index) => index == at ? value : field)]);

    public override string ToString() => string.Join(':', Fields);

    public bool Equals(AccountRecord? other) => other is not null && Fields.SequenceEqual(other.Fields);

    public override int GetHashCode() => Fields.Count;
}

/// <summary>passwd, group, shadow, gshadow, subuid or subgid: records by name, and lines that are none (comments, NIS), as they stand.</summary>
internal sealed class AccountFile
{
    /// <summary>How a record's name is told from the same name a second time, which subuid and subgid may have.</summary>
    private const char Again = '\u0001';

    private AccountFile(IReadOnlyList<(string Line, string? Key)> lines, IReadOnlyDictionary<string, AccountRecord> records) =>
        (Lines, Records) = (lines, records);

    /// <summary>In the order of the file; with the key of the record, or null where the line is none.</summary>
    public IReadOnlyList<(string Line, string? Key)> Lines { get; }

    /// <summary>By key: the name, made different where it comes again.</summary>
    public IReadOnlyDictionary<string, AccountRecord> Records { get; }

    /// <summary>Reads a file; nothing is too odd. Null is an empty one.</summary>
    /// <param name="bytes">The file; one char is one byte.</param>
    /// <param name="repeats">Whether a name may come again as a record of its own (subuid); else the second one is a line that is no record.</param>
    public static AccountFile Parse(byte[]? bytes, bool repeats)
    {
        var lines = new List<(string, string?)>();
        var records = new Dictionary<string, AccountRecord>();
        foreach (string line in Encoding.Latin1.GetString(bytes ?? []).Split('\n').Where(static line => line.Length > 0))
        {
            string[] fields = line.Split(':');
            string? key = fields.Length < 2 || fields[0].Length == 0 || line[0] is '+' or '-' or '#' ? null : fields[0];
            for (int nth = 2; key is not null && records.ContainsKey(key) && repeats; nth++)
                key = $"{fields[0]}{Again}{nth}";
            if (key is not null && !records.TryAdd(key, new AccountRecord(fields)))
                key = null;
            lines.Add((line, key));
        }

        return new AccountFile(lines, records);
    }

    public AccountRecord? Find(string key) => Records.GetValueOrDefault(key);
}
