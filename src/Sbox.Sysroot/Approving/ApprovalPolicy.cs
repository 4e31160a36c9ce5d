using System.Text;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>Somebody whose signature of a commit counts.</summary>
/// <param name="Name">By which the policy knows them: the name of their key file.</param>
/// <param name="Keys">Their keys, any one of which may sign for them.</param>
public sealed record Approver(string Name, IReadOnlyList<Ed25519PublicKey> Keys);

/// <summary>How many of whom must have signed a commit before this box takes it: part of the sealed tree, so that only an approved commit can change it.</summary>
/// <param name="Threshold">How many; 1 and up.</param>
/// <param name="Approvers">Of whom; at least that many.</param>
/// <param name="Revoked">Keys that count no longer, in base64, whoever's they are.</param>
/// <remarks>docs/formats/approval.md, sbox-approval.toml(5). Keys lie where libostree's <c>sign-ed25519</c> looks for them.</remarks>
public sealed record ApprovalPolicy(int Threshold, IReadOnlyList<Approver> Approvers, IReadOnlySet<string> Revoked)
{
    /// <summary>The policy's place in a tree.</summary>
    public const string FileName = "usr/lib/sbox/approval.toml";

    /// <summary>Where a tree has the keys, a file a signer.</summary>
    public const string KeyDirectory = "usr/share/ostree/trusted.ed25519.d";

    private const string Revocation = "revoked";

    // The owner's own, in /etc, can only take trust away.
    private static readonly string[] RevocationFiles = ["usr/share/ostree/revoked.ed25519", "etc/ostree/revoked.ed25519"];

    /// <summary>The policy of a tree; null where it has none, so that any commit will do.</summary>
    /// <param name="tree">The root of a running system, or a deployment's directory.</param>
    /// <exception cref="ApprovalPolicyException">It says what nobody can go by.</exception>
    public static ApprovalPolicy? Of(Dir tree)
    {
        if (tree.TryReadAll(FileName) is not { } bytes)
            return null;
        (int threshold, IReadOnlyList<string> names) = ApprovalReader.Read(FileName, Encoding.UTF8.GetString(bytes));
        List<Approver> approvers = [.. names.Select(name => new Approver(name, KeysOf(tree, name)))];
        foreach (IGrouping<string, string> shared in approvers
            .SelectMany(static approver => approver.Keys.Select(key => (Key: key.ToString(), approver.Name))).GroupBy(static each => each.Key, static each => each.Name))
        {
            if (shared.Distinct().Count() > 1)
                throw new ApprovalPolicyException(FileName, "signers", "a key of its own for each", $"{string.Join(" and ", shared.Distinct())} sharing {shared.Key}");
        }

        return new ApprovalPolicy(threshold, approvers, RevocationFiles.SelectMany(file => RevokedBy(tree, file)).ToHashSet(StringComparer.Ordinal));
    }

    /// <summary>Who of them signed a commit.</summary>
    /// <param name="detached">What lies beside the commit.</param>
    /// <param name="commit">The commit object's bytes.</param>
    public Approval Judge(VariantDictionary? detached, ReadOnlySpan<byte> commit)
    {
        var signers = new List<string>();
        foreach (Approver approver in Approvers)
        {
            foreach (Ed25519PublicKey key in approver.Keys)
            {
                if (Revoked.Contains(key.ToString()) || !CommitSignatures.Verify(detached, commit, key))
                    continue;
                signers.Add(approver.Name);
                break;
            }
        }

        return new Approval(Threshold, signers, [.. Approvers.Select(static approver => approver.Name).Except(signers)]);
    }

    /// <summary>As the other, of a commit in a repository.</summary>
    public Approval Judge(Repository repository, Checksum commit) =>
        Judge(repository.LoadDetachedMetadata(commit), repository.LoadMetadata(new ObjectName(commit, ObjectType.Commit)));

    private static IReadOnlyList<Ed25519PublicKey> KeysOf(Dir tree, string name)
    {
        string file = $"{KeyDirectory}/{name}";
        IReadOnlyList<Ed25519PublicKey> keys = KeysIn(tree, file, name);
        return keys.Count > 0 ? keys : throw new ApprovalPolicyException(file, name, "a key", tree.Exists(file) ? "none in it" : "no such file");
    }

    // A revocation that is passed over trusts a stolen key: what is there is understood whole, or nothing is approved.
    private static IEnumerable<string> RevokedBy(Dir tree, string file)
    {
        string directory = $"{file}.d";
        IReadOnlyList<string> names = [];
        if (tree.TryStat(directory) is { } stat)
        {
            if (!stat.IsDirectory)
                throw new ApprovalPolicyException(directory, Revocation, "a directory", "something else (links are not followed)");
            using Dir dir = tree.OpenDir(directory);
            names = [.. dir.Entries().Select(static entry => entry.Name)];
        }

        return [.. names.Select(name => $"{directory}/{name}").Prepend(file).SelectMany(each => KeysIn(tree, each, Revocation)).Select(static key => key.ToString())];
    }

    // None where nothing is there. A key is compared as what it is, not as it is written: base64 has more than one spelling.
    private static IReadOnlyList<Ed25519PublicKey> KeysIn(Dir tree, string file, string whose)
    {
        if (tree.TryStat(file) is not { } stat)
            return [];
        if (!stat.IsRegular)
            throw new ApprovalPolicyException(file, whose, "a regular file", "something else (links are not followed)");
        return [.. Encoding.UTF8.GetString(tree.ReadAll(file)).Split('\n').Select(static line => line.Trim()).Where(static line => line.Length > 0 && line[0] != '#')
            .Select(line => KeyOf(file, whose, line))];
    }

    private static Ed25519PublicKey KeyOf(string file, string whose, string line)
    {
        byte[] bytes = new byte[64];
        return Convert.TryFromBase64String(line, bytes, out int length) && length == 32
            ? new Ed25519PublicKey(bytes.AsSpan(0, length))
            : throw new ApprovalPolicyException(file, whose, "an Ed25519 key of 32 bytes in base64, one a line", $"'{(line.Length > 60 ? line[..60] + "…" : line)}'");
    }
}

/// <summary>Whose signatures a commit has.</summary>
/// <param name="Threshold">How many it needs.</param>
/// <param name="Signers">Who signed, of those who count.</param>
/// <param name="Missing">Who did not.</param>
public sealed record Approval(int Threshold, IReadOnlyList<string> Signers, IReadOnlyList<string> Missing)
{
    /// <summary>Whether these are enough.</summary>
    public bool IsEnough => Signers.Count >= Threshold;

    /// <summary>As a person reads it: <c>1 of the 2 signatures that are needed (alice; not bob, carol)</c>.</summary>
    public override string ToString()
    {
        string who = Signers.Count == 0 ? $"none of {string.Join(", ", Missing)}" : $"{string.Join(", ", Signers)}{(Missing.Count > 0 ? $"; not {string.Join(", ", Missing)}" : "")}";
        return $"{Signers.Count} of the {Threshold} signature{(Threshold == 1 ? "" : "s")} that {(Threshold == 1 ? "is" : "are")} needed ({who})";
    }
}

/// <summary>An approval policy, a key file that it names, or a list of revoked keys says what nobody can go by. Nothing is approved then.</summary>
/// <param name="file">The file, from the tree's root.</param>
/// <param name="key">The key of the policy, the signer, or <c>revoked</c>.</param>
/// <param name="expected">What belongs there.</param>
/// <param name="found">What is there.</param>
public sealed class ApprovalPolicyException(string file, string key, string expected, string found) : SysrootException($"{file}: {key}: expected {expected}, found {found}")
{
    /// <summary>The file, from the tree's root.</summary>
    public string File { get; } = file;

    /// <summary>The key of the policy, the signer, or <c>revoked</c>.</summary>
    public string Key { get; } = key;
}

/// <summary>A commit has too few signatures of those whom the running tree trusts.</summary>
/// <param name="commit">The commit.</param>
/// <param name="approval">Whose it has.</param>
public sealed class UnapprovedCommitException(Checksum commit, Approval approval)
    : SysrootException($"commit {commit.ToString()[..12]} has {approval}, says {ApprovalPolicy.FileName}")
{
    /// <summary>The commit.</summary>
    public Checksum Commit { get; } = commit;

    /// <summary>Whose signatures it has.</summary>
    public Approval Approval { get; } = approval;
}
