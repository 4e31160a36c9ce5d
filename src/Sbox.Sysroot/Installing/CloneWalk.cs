using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A name of a box that is cloned, and no directory.</summary>
/// <param name="From">Where it is.</param>
/// <param name="Name">Its name there.</param>
/// <param name="Stat">What it is.</param>
/// <param name="Path">Its path in the clone, from the physical root.</param>
/// <param name="IsDefault">Whether it becomes a file of /etc that its owner may edit: here it is another name of an object, and sealed as that.</param>
internal readonly record struct CloneLeaf(Dir From, string Name, FileStat Stat, string Path, bool IsDefault)
{
    /// <summary>Its name in the clone.</summary>
    public string NewName => Path[(Path.LastIndexOf('/') + 1)..];

    /// <summary>Whether the clone has it once for several names.</summary>
    public bool IsShared => Stat.Links > 1 && !IsDefault;
}

/// <summary>What is done with each name of a box that is cloned.</summary>
internal interface ICloneVisitor
{
    /// <summary>A directory: what is in it comes next, then <see cref="Leave"/>; or neither, where the answer is no.</summary>
    bool Enter(Dir from, string name, string newName);

    /// <summary>The end of the directory that was entered last.</summary>
    void Leave(Dir from, string name, string newName);

    /// <summary>Anything else.</summary>
    void Leaf(in CloneLeaf leaf);

    /// <summary>A file that is empty in the clone, whatever is in it here.</summary>
    void Emptied(in CloneLeaf leaf);
}

/// <summary>
/// Goes through a physical root, and through that part of it which a clone gets. Its own disk's key, and what was half-done, is nobody else's. Without state, /var is
/// empty, and each /etc is what the version brings. Machine and random numbers are told apart either way: no clone has the machine-id or the random seed of another.
/// </summary>
/// <param name="root">The physical root.</param>
/// <param name="withState">Whether /etc and /var come along.</param>
/// <param name="cancel">Looked at between two names.</param>
internal sealed class CloneWalk(Dir root, bool withState, CancellationToken cancel)
{
    private const string MachineId = "machine-id", RandomSeed = "lib/systemd/random-seed";
    private static readonly string[] OfTheDisk = ["lost+found", EncryptedDisk.Directory];

    private enum Part
    {
        All,
        None,
        Itself,
        Default,
        Emptied,
    }

    /// <summary>Has each name visited, a directory before what is in it.</summary>
    /// <exception cref="LinuxException">Something cannot be read.</exception>
    public void Visit(ICloneVisitor visitor) => Visit(root, "", isDefault: false, visitor);

    private void Visit(Dir from, string path, bool isDefault, ICloneVisitor visitor)
    {
        foreach (DirEntry entry in from.Entries())
        {
            cancel.ThrowIfCancellationRequested();
            string below = path.Length == 0 ? entry.Name : $"{path}/{entry.Name}";
            Part part = PartOf(below);
            if (part == Part.None || from.TryStat(entry.Name) is not { } stat) // gone since the directory was read
                continue;
            if (stat.IsDirectory)
                VisitDirectory(from, entry.Name, part, below, isDefault || part == Part.Default, visitor);
            else if (part == Part.Emptied)
                visitor.Emptied(new CloneLeaf(from, entry.Name, stat, below, isDefault));
            else
                visitor.Leaf(new CloneLeaf(from, entry.Name, stat, below, isDefault));
        }
    }

    private void VisitDirectory(Dir from, string name, Part part, string path, bool isDefault, ICloneVisitor visitor)
    {
        string source = part == Part.Default ? "usr/etc" : name; // the defaults of /etc lie beside it
        using Dir? inner = from.TryOpenParent(source, out string last) is { } parent ? Inner(parent, last) : null;
        if (inner is null || !visitor.Enter(from, source, name))
            return;
        if (part != Part.Itself)
            Visit(inner, path, isDefault, visitor);
        visitor.Leave(from, source, name);
    }

    private static Dir? Inner(Dir parent, string name)
    {
        using (parent)
            return parent.TryOpenDir(name);
    }

    private Part PartOf(string path) => path.Split('/') switch
    {
        [var top] when OfTheDisk.Contains(top) => Part.None,
        ["tmp"] or ["ostree", "repo", "tmp"] => Part.Itself,
        ["ostree", "deploy", _, "deploy", _, "etc", MachineId] => Part.Emptied,
        ["ostree", "deploy", _, "var", ..] when path.EndsWith($"/var/{RandomSeed}", StringComparison.Ordinal) => Part.None,
        ["ostree", "deploy", _, var own] when own.StartsWith(".sbox-", StringComparison.Ordinal) => Part.None,
        _ when withState => Part.All,
        ["ostree", "deploy", _, "var"] => Part.Itself,
        ["ostree", "deploy", _, not "deploy"] => Part.None,
        // What merges of /etc kept is beside the deployments.
        ["ostree", "deploy", var os, "deploy", var name] => name.EndsWith(".origin", StringComparison.Ordinal) || DeploymentName.TryParse($"{os}/{name}", out _) ? Part.All : Part.None,
        ["ostree", "deploy", _, "deploy", _, "etc"] => Part.Default,
        ["ostree", "deploy", _, "deploy", _, var part] when part.StartsWith("etc.", StringComparison.Ordinal) => Part.None,
        ["ostree", var aside] when aside.StartsWith("sbox-", StringComparison.Ordinal) => Part.None,
        _ => Part.All,
    };
}
