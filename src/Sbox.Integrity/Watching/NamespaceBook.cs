using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>What is known of one mount namespace.</summary>
internal sealed class KnownNamespace(int process)
{
    /// <summary>A process that was in it.</summary>
    public int Process { get; set; } = process;

    /// <summary>Whether its mounts were looked at before.</summary>
    public bool IsLookedAt { get; set; }

    /// <summary>Whether sbox made it, to write in it.</summary>
    public bool IsSbox { get; set; }

    /// <summary>Whether sbox was at work in it when the sentinel started, which did not see who made it.</summary>
    public bool IsSpared { get; set; }

    /// <summary>What was wrong at the last look.</summary>
    public HashSet<(FindingKind Kind, string Path, int Mount)> Wrong { get; set; } = [];
}

/// <summary>
/// The mount namespaces that the sentinel knows. It holds none of them open: a namespace that is held lives on when its last process
/// has ended, and with it every mount in it; an unplugged stick would stay busy for ever.
/// </summary>
internal sealed class NamespaceBook
{
    private const int PruneAbove = 256;
    private readonly Dictionary<uint, KnownNamespace> known = [];

    /// <summary>How many.</summary>
    public int Count => known.Count;

    /// <summary>All of them.</summary>
    public IEnumerable<(uint Number, KnownNamespace Namespace)> All => known.Select(static pair => (pair.Key, pair.Value));

    /// <summary>One of them; null for one that is new.</summary>
    public KnownNamespace? Find(uint number) => known.GetValueOrDefault(number);

    /// <summary>Whether something is wrong in the same way anywhere: then a copy of it is no news.</summary>
    public bool IsWrongSomewhere(FindingKind kind, string path) =>
        known.Values.Any(each => each.Wrong.Any(wrong => wrong.Kind == kind && wrong.Path == path));

    /// <summary>One of them, added where it is new.</summary>
    public KnownNamespace Add(uint number, int process)
    {
        if (known.TryGetValue(number, out KnownNamespace? found))
        {
            found.Process = process;
            return found;
        }

        if (known.Count >= PruneAbove)
            Prune();
        return known[number] = new KnownNamespace(process);
    }

    private void Prune()
    {
        foreach ((uint number, KnownNamespace each) in known.ToArray())
        {
            if (Namespaces.MountNamespaceOf(each.Process) != number)
                known.Remove(number);
        }
    }
}
