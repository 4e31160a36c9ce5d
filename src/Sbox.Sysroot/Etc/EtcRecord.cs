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
/// <param name="Number">Its number in the record, from 1.</param>
/// <param name="Path">Below /etc.</param>
/// <param name="IsConflict">Whether both sides wanted something else; the owner's stood.</param>
/// <param name="Notes">What was decided, a line each.</param>
/// <param name="Choice">What its owner said since.</param>
public sealed record EtcFinding(int Number, string Path, bool IsConflict, IReadOnlyList<string> Notes, EtcChoice Choice)
{
    /// <summary>Whether the owner had something there before the merge: then a copy of it is kept.</summary>
    public bool HadMine { get; init; } = true;

    /// <summary>Whether the old tree had a default there: then a copy of it is kept.</summary>
    public bool HadBase { get; init; } = true;

    /// <summary>The name of its kept copies. Of the path and not the number: a copy can never be taken for another path's.</summary>
    internal string CopyName => Checksum.Of(FileName.ToBytes(Path)).ToString();

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
    private const uint OwnerOnly = 0x1C0; // 0700: shadow is among what is kept

    /// <summary>The digest of the /etc that the merge wrote; only while the deployment still has that may it be merged again. Null: never again.</summary>
    public string? Written { get; init; }

    /// <summary>Whether the login message of a boot said why the last merge could not be done.</summary>
    public bool WasTold { get; init; }

    /// <summary>What waits for the owner.</summary>
    public IEnumerable<EtcFinding> Open => Findings.Where(static finding => finding.IsOpen);

    /// <summary>Where it is kept.</summary>
    internal static string DirectoryOf(DeploymentName name) => $"{Layout.BackingOf(name)}/etc-merge";

    /// <summary>Where the next one is made, with its copies, before it takes the place of the one before.</summary>
    internal static string BesideOf(DeploymentName name) => $"{DirectoryOf(name)}.new";

    /// <summary>Where the /etc is that the last merge at shutdown replaced: whoever missed something in the new one finds it there.</summary>
    internal static string ReplacedOf(DeploymentName name) => $"{Layout.BackingOf(name)}/etc-replaced";

    private static string FailureOf(DeploymentName name) => $"{Layout.BackingOf(name)}/etc-failure";

    /// <summary>The digest of a deployment's /etc as it is.</summary>
    internal static string Digest(Dir etc) => EtcTree.Read(etc).Digest().ToString();

    /// <summary>The digest of a deployment's /etc as it is.</summary>
    internal static string Digest(OstreeSysroot sysroot, DeploymentName name)
    {
        using Dir etc = sysroot.Root.OpenDir($"{name.Directory}/etc");
        return Digest(etc);
    }

    /// <summary>Reads a deployment's; null where it was not merged, or by another program.</summary>
    /// <exception cref="MalformedException">It is no key file.</exception>
    public static EtcRecord? Of(OstreeSysroot sysroot, DeploymentName name) => Read(sysroot, DirectoryOf(name), FailureOf(name));

    private static EtcRecord? Read(OstreeSysroot sysroot, string directory, string failure)
    {
        byte[]? bytes, busy;
        try
        {
            bytes = sysroot.Root.TryReadAll($"{directory}/{RecordName}");
            busy = bytes is null ? null : sysroot.Root.TryReadAll(failure);
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
                (file.GetString(group, "notes") ?? "").Split('\n', StringSplitOptions.RemoveEmptyEntries), choice)
            {
                // A record that does not say so: a copy that is not there must read as lost, never as "there was none".
                HadMine = file.GetString(group, "mine") != "false",
                HadBase = file.GetString(group, "base") != "false",
            });
        }

        return new EtcRecord(from, file.GetBoolean(Group, "pending"), findings, file.GetString(Group, "failure") ?? (busy is null ? null : Encoding.UTF8.GetString(busy)))
        {
            Written = file.GetString(Group, "etc"),
            WasTold = file.GetBoolean(Group, "told"),
        };
    }

    /// <summary>What a plan found, without choices.</summary>
    internal static EtcRecord Of(EtcMergePlan plan, DeploymentName from) => new(
        from, IsPending: true,
        [.. plan.Steps.Where(static step => step.IsConflict || step.Findings.Count > 0).GroupBy(static step => step.Path)
            .Select(static (steps, index) => new EtcFinding(
                index + 1, steps.Key, steps.Any(static step => step.IsConflict),
                [.. steps.SelectMany(static step => step.Findings).DefaultIfEmpty("you and the new tree both changed it; yours is kept").Distinct()], EtcChoice.None))],
        Failure: null);

    /// <summary>Makes the directory beside the one in use, with copies of what the merge decided about; the record itself is still missing in it.</summary>
    /// <returns>The record, which knows now what there was to copy.</returns>
    internal EtcRecord KeepCopies(OstreeSysroot sysroot, DeploymentName name, Dir? before, Dir mine)
    {
        string beside = BesideOf(name);
        sysroot.Root.MakeDirs(Layout.BackingOf(name));
        sysroot.Root.RemoveAll(beside);
        sysroot.Step("keep copies of what was decided");
        sysroot.Root.MakeDir(beside, OwnerOnly);
        using Dir own = sysroot.Root.OpenDir(beside);
        return this with
        {
            Findings = [.. Findings.Select(finding => finding with { HadMine = Keep(mine, finding, own, "mine"), HadBase = before is not null && Keep(before, finding, own, "base") })],
        };
    }

    /// <summary>Writes the record to the copies made beside, last of all: a directory with a record is whole.</summary>
    internal void WriteBeside(OstreeSysroot sysroot, DeploymentName name)
    {
        using Dir beside = sysroot.Root.OpenDir(BesideOf(name));
        sysroot.Step("sync the copies");
        Durable.SyncFileSystem(beside);
        sysroot.Step("write the record beside");
        Durable.Replace(beside, RecordName, Encoding.UTF8.GetBytes(Text()), 0x180);
    }

    /// <summary>Gives record and copies, which were made beside, their place, both at once.</summary>
    internal static void TakePlace(OstreeSysroot sysroot, DeploymentName name)
    {
        using Dir backing = sysroot.Root.OpenDir(Layout.BackingOf(name));
        (string own, string beside) = (Path.GetFileName(DirectoryOf(name)), Path.GetFileName(BesideOf(name)));
        sysroot.Step("exchange the record");
        if (backing.Exists(own))
            backing.Exchange(beside, backing, own);
        else
            backing.Rename(beside, backing, own);
        backing.TryUnlink(Path.GetFileName(FailureOf(name)));
        Durable.Sync(backing);
        backing.RemoveAll(beside);
    }

    /// <summary>Finishes what a cut between the exchange of /etc and the one of its record left: the record made beside is the one of the /etc that is there.</summary>
    internal static void FinishCut(OstreeSysroot sysroot, DeploymentName name)
    {
        if (Read(sysroot, BesideOf(name), FailureOf(name)) is not { Written: { } beside })
            return;
        string now = Digest(sysroot, name);
        if (beside == now && Of(sysroot, name)?.Written != now)
            TakePlace(sysroot, name);
    }

    /// <summary>Leaves word why no merge was made, where the record may not be touched because another holds the lock.</summary>
    internal static void NoteFailure(OstreeSysroot sysroot, DeploymentName name, string failure)
    {
        using Dir backing = sysroot.Root.OpenDir(Layout.BackingOf(name));
        Durable.Replace(backing, Path.GetFileName(FailureOf(name)), Encoding.UTF8.GetBytes(failure));
    }

    /// <summary>Writes the record alone: after a choice.</summary>
    internal void Write(OstreeSysroot sysroot, DeploymentName name)
    {
        using Dir own = sysroot.Root.OpenDir(DirectoryOf(name));
        Durable.Replace(own, RecordName, Encoding.UTF8.GetBytes(Text()), 0x180);
    }

    private string Text()
    {
        KeyFile file = KeyFile.Empty.With(Group, "from", From.ToString()).With(Group, "pending", IsPending ? "true" : "false");
        if (Written is not null)
            file = file.With(Group, "etc", Written);
        if (Failure is not null)
            file = file.With(Group, "failure", Failure);
        if (WasTold)
            file = file.With(Group, "told", "true");
        foreach (EtcFinding finding in Findings)
        {
            string group = string.Create(CultureInfo.InvariantCulture, $"finding {finding.Number}");
            file = file.With(group, "path", TextOf(finding.Path)).With(group, "conflict", finding.IsConflict ? "true" : "false")
                .With(group, "notes", string.Join('\n', finding.Notes)).With(group, "choice", finding.Choice.ToString().ToLowerInvariant())
                .With(group, "mine", finding.HadMine ? "true" : "false").With(group, "base", finding.HadBase ? "true" : "false");
        }

        return file.ToString();
    }

    private static bool Keep(Dir from, EtcFinding finding, Dir to, string side)
    {
        if (from.TryStat(finding.Path) is not { } stat)
            return false;
        to.MakeDirs(side);
        string name = $"{side}/{finding.CopyName}";
        if (!stat.IsDirectory)
            return TreeCopy.Leaf(from, finding.Path, to, name);
        TreeCopy.Recursive(from, finding.Path, to, name);
        return true;
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
