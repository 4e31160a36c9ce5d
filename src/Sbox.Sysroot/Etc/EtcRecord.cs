using System.Globalization;
using System.Text;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>Which version of a path its owner chose after a merge.</summary>
public enum EtcChoice
{
    /// <summary>None yet: the merge's own answer stands.</summary>
    None,
    /// <summary>It stays as it is, and is no conflict any more.</summary>
    Accepted,
    /// <summary>The owner's, as it was before the merge.</summary>
    Mine,
    /// <summary>The new tree's default.</summary>
    New,
    /// <summary>The old tree's default.</summary>
    Base,
}

/// <summary>Something that a merge decided about one path, which its owner may want otherwise.</summary>
/// <param name="Number">Its number in the record, from 1; also the name of its kept copies.</param>
/// <param name="Path">Below /etc.</param>
/// <param name="IsConflict">Whether both sides wanted something else; the owner's stood.</param>
/// <param name="Notes">What was decided, a line each.</param>
/// <param name="Choice">What its owner said since.</param>
public sealed record EtcFinding(int Number, string Path, bool IsConflict, IReadOnlyList<string> Notes, EtcChoice Choice)
{
    /// <summary>Whether it waits for its owner.</summary>
    public bool IsOpen => IsConflict && Choice == EtcChoice.None;
}

/// <summary>
/// What the merge of a deployment's /etc found, kept beside the deployment with copies of the owner's version and of the old default where the merge
/// decided something: <c>ostree/deploy/OS/backing/CSUM.N/etc-merge</c>, readable by root alone.
/// </summary>
/// <param name="From">Whose /etc was taken over.</param>
/// <param name="IsPending">Whether the deployment never ran: then it is merged again at shutdown, with what was edited meanwhile.</param>
/// <param name="Findings">What was decided.</param>
/// <param name="Failure">Why the last merge at shutdown could not be done; null where it could.</param>
/// <remarks>docs/formats/etc-merge.md.</remarks>
public sealed record EtcRecord(DeploymentName From, bool IsPending, IReadOnlyList<EtcFinding> Findings, string? Failure)
{
    private const string Group = "merge", RecordName = "record";

    /// <summary>What waits for the owner.</summary>
    public IEnumerable<EtcFinding> Open => Findings.Where(static finding => finding.IsOpen);

    /// <summary>Where it is kept.</summary>
    internal static string DirectoryOf(DeploymentName name) => $"{Layout.BackingOf(name)}/etc-merge";

    /// <summary>Reads a deployment's; null where it was not merged, or by another program.</summary>
    /// <exception cref="MalformedException">It is no key file.</exception>
    public static EtcRecord? Of(OstreeSysroot sysroot, DeploymentName name)
    {
        byte[]? bytes;
        try
        {
            bytes = sysroot.Root.TryReadAll($"{DirectoryOf(name)}/{RecordName}");
        }
        catch (LinuxException refused) when (refused.Errno == Errno.EACCES)
        {
            return null; // only root may look
        }

        if (bytes is null)
            return null;
        KeyFile file = KeyFile.Parse(Encoding.UTF8.GetString(bytes));
        if (!DeploymentName.TryParse(file.GetString(Group, "from") ?? "", out DeploymentName from))
            return null;
        var findings = new List<EtcFinding>();
        foreach (string group in file.Groups.Where(static group => group.StartsWith("finding ", StringComparison.Ordinal)))
        {
            if (!int.TryParse(group["finding ".Length..], NumberStyles.None, CultureInfo.InvariantCulture, out int number))
                continue;
            _ = Enum.TryParse(file.GetString(group, "choice"), ignoreCase: true, out EtcChoice choice);
            findings.Add(new EtcFinding(
                number, PathOf(file.GetString(group, "path") ?? ""), file.GetBoolean(group, "conflict"),
                (file.GetString(group, "notes") ?? "").Split('\n', StringSplitOptions.RemoveEmptyEntries), choice));
        }

        return new EtcRecord(from, file.GetBoolean(Group, "pending"), findings, file.GetString(Group, "failure"));
    }

    /// <summary>What a plan found, without choices.</summary>
    internal static EtcRecord Of(EtcMergePlan plan, DeploymentName from) => new(
        from, IsPending: true,
        [.. plan.Steps.Where(static step => step.IsConflict || step.Findings.Count > 0).GroupBy(static step => step.Path)
            .Select(static (steps, index) => new EtcFinding(
                index + 1, steps.Key, steps.Any(static step => step.IsConflict),
                [.. steps.SelectMany(static step => step.Findings).DefaultIfEmpty("you and the new tree both changed it; yours is kept").Distinct()], EtcChoice.None))],
        Failure: null);

    /// <summary>Writes it whole, its copies anew: after a merge.</summary>
    internal void WriteWithCopies(OstreeSysroot sysroot, DeploymentName name, Dir? before, Dir mine)
    {
        string directory = DirectoryOf(name);
        sysroot.Root.RemoveAll(directory);
        sysroot.Root.MakeDirs(Layout.BackingOf(name));
        sysroot.Root.MakeDir(directory, 0x1C0); // 0700: shadow is among what is kept
        using Dir own = sysroot.Root.OpenDir(directory);
        foreach (EtcFinding finding in Findings)
        {
            Keep(mine, finding, own, "mine");
            if (before is not null)
                Keep(before, finding, own, "base");
        }

        Write(sysroot, name);
    }

    /// <summary>Writes the record alone: after a choice.</summary>
    internal void Write(OstreeSysroot sysroot, DeploymentName name)
    {
        KeyFile file = KeyFile.Empty.With(Group, "from", From.ToString()).With(Group, "pending", IsPending ? "true" : "false");
        if (Failure is not null)
            file = file.With(Group, "failure", Failure);
        foreach (EtcFinding finding in Findings)
        {
            string group = string.Create(CultureInfo.InvariantCulture, $"finding {finding.Number}");
            file = file.With(group, "path", TextOf(finding.Path)).With(group, "conflict", finding.IsConflict ? "true" : "false")
                .With(group, "notes", string.Join('\n', finding.Notes)).With(group, "choice", finding.Choice.ToString().ToLowerInvariant());
        }

        sysroot.Root.MakeDirs(Layout.BackingOf(name));
        using Dir own = sysroot.Root.MakeAndOpenDir(DirectoryOf(name), 0x1C0);
        Durable.Replace(own, RecordName, Encoding.UTF8.GetBytes(file.ToString()), 0x180);
    }

    private static void Keep(Dir from, EtcFinding finding, Dir to, string side)
    {
        if (from.TryStat(finding.Path) is not { } stat)
            return;
        to.MakeDirs(side);
        string name = string.Create(CultureInfo.InvariantCulture, $"{side}/{finding.Number}");
        if (stat.IsDirectory)
            TreeCopy.Recursive(from, finding.Path, to, name);
        else
            TreeCopy.Leaf(from, finding.Path, to, name);
    }

    // A name may hold any byte but a zero and a slash; a key file holds lines of UTF-8.
    private static string TextOf(string path)
    {
        var text = new StringBuilder();
        foreach (byte each in FileName.ToBytes(path))
            text.Append(each is > 0x20 and < 0x7F and not (byte)'%' and not (byte)'\\' ? ((char)each).ToString() : $"%{each:X2}");
        return text.ToString();
    }

    private static string PathOf(string text)
    {
        var bytes = new List<byte>();
        for (int at = 0; at < text.Length; at++)
        {
            bool escaped = text[at] == '%' && at + 2 < text.Length && byte.TryParse(text.AsSpan(at + 1, 2), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out _);
            bytes.Add(escaped ? byte.Parse(text.AsSpan(at + 1, 2), NumberStyles.HexNumber, CultureInfo.InvariantCulture) : (byte)text[at]);
            at += escaped ? 2 : 0;
        }

        return FileName.FromBytes([.. bytes]);
    }
}
