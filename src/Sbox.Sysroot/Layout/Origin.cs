using Sbox.Codecs;

namespace Sbox.Sysroot;

/// <summary>Where a deployment came from and where its upgrades come from: the key file <c>CSUM.N.origin</c> beside it. Immutable.</summary>
/// <param name="File">All of the file; keys that are not known here are kept.</param>
/// <remarks>docs/formats/origin.md, after libostree's ostree-sysroot.c.</remarks>
public sealed record Origin(KeyFile File)
{
    private const string Group = "origin", TransientGroup = "libostree-transient";

    /// <summary>The branch it follows; null where the file names none.</summary>
    /// <exception cref="MalformedException">What it names is no refspec.</exception>
    public Refspec? Refspec => File.GetString(Group, "refspec") is { } text ? Sysroot.Refspec.Parse(text) : null;

    /// <summary>Whether the owner asked that it never be cleaned away (<c>ostree admin pin</c>).</summary>
    public bool IsPinned => File.GetBoolean(TransientGroup, "pinned");

    /// <summary>How it was unlocked for good, <c>hotfix</c>; null where it was not.</summary>
    public string? Unlocked => File.GetString(Group, "unlocked");

    /// <summary>The origin of a first deployment.</summary>
    public static Origin Of(Refspec refspec) => new(KeyFile.Empty.With(Group, "refspec", refspec.ToString()));

    /// <summary>Reads a file.</summary>
    /// <exception cref="MalformedException">It is no key file.</exception>
    public static Origin Parse(string text) => new(KeyFile.Parse(text));

    /// <summary>The same origin on another branch.</summary>
    public Origin With(Refspec refspec) => new(File.With(Group, "refspec", refspec.ToString()));

    /// <summary>The origin for a successor: what was true of the one deployment only (pinned, unlocked, an overridden commit) is left out.</summary>
    public Origin ForSuccessor() => new(File.WithoutGroup(TransientGroup).Without(Group, "unlocked").Without(Group, "override-commit"));

    /// <summary>The file's text.</summary>
    public override string ToString() => File.ToString();
}
