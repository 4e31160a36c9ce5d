using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>Something that the policy does not want.</summary>
/// <param name="Kind">What.</param>
/// <param name="Path">What it is about: a path, a device, a module.</param>
/// <param name="Says">One sentence for a person, without the path.</param>
public sealed record Finding(FindingKind Kind, string Path, string Says)
{
    /// <summary>The mount that it is about; null where it is about none.</summary>
    public MountEntry? Mount { get; init; }

    /// <summary>Whether it was over before the sentinel could look: known only by what was asked of the kernel.</summary>
    public bool IsOver { get; init; }

    /// <summary>
    /// Whether it is told and left as it is: sbox was at work there when the sentinel started, and what is undone under its hands would end an upgrade in the middle.
    /// </summary>
    public bool IsSpared { get; init; }

    /// <summary>What makes it the same finding at the next look.</summary>
    public (FindingKind, string, int) Key => (Kind, Path, Mount?.Id ?? 0);
}

/// <summary>The mounts of one namespace, as they are now.</summary>
/// <param name="Number">Its number.</param>
/// <param name="Mounts">The mounts.</param>
/// <param name="IsSbox">Whether it was made by sbox itself, to write where nobody else may.</param>
public sealed record NamespaceView(uint Number, IReadOnlyList<MountEntry> Mounts, bool IsSbox);
