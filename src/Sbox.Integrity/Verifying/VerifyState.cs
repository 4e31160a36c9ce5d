using System.Globalization;
using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>How far a deep check has come, as a file of lines; docs/formats/verify-state.md. It is believed only for the very same list of objects.</summary>
/// <param name="List">SHA-256 over the names of the objects, in the order in which they are read.</param>
/// <param name="Begun">When the check began.</param>
/// <param name="Done">So many of them, from the first, were looked at.</param>
/// <param name="Bytes">Bytes of content that were read.</param>
public sealed record VerifyState(Checksum List, DateTimeOffset Begun, int Done, long Bytes)
{
    private const string Magic = "sbox-verify 1";

    /// <summary>Those that something was wrong with, by their place in the list: they are looked at once more.</summary>
    public IReadOnlyCollection<int> Again { get; init; } = [];

    /// <summary>fs-verity digests that were made of bytes, by place; the kernel's own are not kept.</summary>
    public IReadOnlyDictionary<int, Checksum> Digests { get; init; } = new Dictionary<int, Checksum>();

    /// <summary>The file's text.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{Magic}\nlist {List}\nbegun {Begun.ToUnixTimeSeconds()}\ndone {Done} {Bytes}\n");
        foreach (int place in Again.Order())
            text.Append(CultureInfo.InvariantCulture, $"again {place}\n");
        foreach ((int place, Checksum digest) in Digests.OrderBy(static each => each.Key))
            text.Append(CultureInfo.InvariantCulture, $"digest {place} {digest}\n");
        return text.Append("end\n").ToString();
    }

    /// <summary>Reads a file's text; null for anything that is not whole: then the check begins anew, which costs time and nothing else.</summary>
    public static VerifyState? Parse(string text)
    {
        string[] lines = text.Split('\n');
        if (lines is not [Magic, var list, var begun, var done, .. var rest, "end", ""]
            || list.Split(' ') is not ["list", var sum] || !Checksum.TryParse(sum, out Checksum checksum)
            || begun.Split(' ') is not ["begun", var at] || !long.TryParse(at, NumberStyles.None, CultureInfo.InvariantCulture, out long seconds) || seconds > 253402300799
            || done.Split(' ') is not ["done", var number, var size] || !TryPlace(number, out int count) || !long.TryParse(size, NumberStyles.None, CultureInfo.InvariantCulture, out long bytes))
            return null;
        var again = new List<int>();
        var digests = new Dictionary<int, Checksum>();
        foreach (string line in rest)
        {
            if (line.Split(' ') is ["again", var wrong] && TryPlace(wrong, out int place))
                again.Add(place);
            else if (line.Split(' ') is ["digest", var of, var hex] && TryPlace(of, out int file) && Checksum.TryParse(hex, out Checksum digest))
                digests[file] = digest;
            else
                return null;
        }

        return new VerifyState(checksum, DateTimeOffset.FromUnixTimeSeconds(seconds), count, bytes) { Again = again, Digests = digests };
    }

    /// <summary>Reads a file; null where there is none that is whole and about this list.</summary>
    public static VerifyState? Load(string file, Checksum list, int count)
    {
        if (!Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(file))))
            return null;
        using Dir dir = Dir.Open(Path.GetDirectoryName(Path.GetFullPath(file))!);
        return dir.TryReadAll(Path.GetFileName(file)) is { } bytes && Parse(Encoding.UTF8.GetString(bytes)) is { } state
            && state.List == list && state.Done <= count && state.Again.All(place => place < count) ? state : null;
    }

    /// <summary>Replaces the file as a whole; only its owner may read it.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public void Save(string file)
    {
        string directory = Path.GetDirectoryName(Path.GetFullPath(file))!;
        using (Dir root = Dir.Open("/"))
            root.MakeDirs(directory.TrimStart('/') is { Length: > 0 } below ? below : ".");
        using Dir dir = Dir.Open(directory);
        Durable.Replace(dir, Path.GetFileName(file), Encoding.UTF8.GetBytes(ToString()), 0x180 /* 0600 */);
    }

    /// <summary>Removes the file: the check is done.</summary>
    public static void Forget(string file)
    {
        string directory = Path.GetDirectoryName(Path.GetFullPath(file))!;
        if (!Directory.Exists(directory))
            return;
        using Dir dir = Dir.Open(directory);
        dir.TryUnlink(Path.GetFileName(file));
    }

    private static bool TryPlace(string text, out int place) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out place);
}
