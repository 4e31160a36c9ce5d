using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>A ref with the collection it belongs to: the same name in the same collection means the same, wherever it is kept.</summary>
/// <param name="Collection">The collection's id: <c>org.example.Os</c>.</param>
/// <param name="Name">The ref.</param>
/// <remarks>After libostree's <c>OstreeCollectionRef</c>: refs of other collections lie in <c>refs/mirrors/COLLECTION/REF</c>.</remarks>
public readonly record struct CollectionRef(string Collection, string Name)
{
    /// <summary>Names the collection that a commit belongs to, in its metadata.</summary>
    internal const string Binding = "ostree.collection-binding";

    /// <summary>As libostree prints it.</summary>
    public override string ToString() => $"({Collection}, {Name})";
}

public sealed partial class Repository
{
    /// <summary>The collection that this repository's own branches belong to; null for none.</summary>
    public string? CollectionId => Config.GetString("core", "collection-id") is { Length: > 0 } id ? id : null;

    /// <summary>All refs that belong to a collection, in order: one's own branches, mirrored ones, and those of remotes that say their collection.</summary>
    /// <param name="collection">Only this one's; null for all.</param>
    /// <param name="withRemotes">Whether those of remotes are among them.</param>
    public IReadOnlyDictionary<CollectionRef, Checksum> CollectionRefs(string? collection = null, bool withRemotes = true)
    {
        var all = new SortedDictionary<CollectionRef, Checksum>(Comparer<CollectionRef>.Create(static (a, b) =>
            string.CompareOrdinal(a.Collection, b.Collection) is not 0 and var order ? order : string.CompareOrdinal(a.Name, b.Name)));
        foreach ((CollectionRef mirrored, Checksum target) in refs.Mirrors())
            all[mirrored] = target;
        foreach ((string refspec, Checksum target) in refs.All())
        {
            int colon = refspec.IndexOf(':', StringComparison.Ordinal);
            string? owner = colon < 0 ? CollectionId
                : withRemotes ? RemoteConfig(refspec[..colon])?.GetString(RemoteSettings.Group(refspec[..colon]), "collection-id")
                : null;
            if (owner is { Length: > 0 })
                all[new CollectionRef(owner, refspec[(colon + 1)..])] = target;
        }

        foreach (CollectionRef other in all.Keys.Where(each => collection is not null && each.Collection != collection).ToArray())
            all.Remove(other);
        return all;
    }

    /// <summary>Points a ref of a collection at a commit, or deletes it; one of this repository's own collection is a branch.</summary>
    /// <exception cref="InvalidRefException">The collection's id or the name holds what libostree refuses.</exception>
    public void SetCollectionRef(CollectionRef name, Checksum? target)
    {
        WriteCollectionRef(name, target);
        RefsChanged();
    }

    private void WriteCollectionRef(CollectionRef name, Checksum? target)
    {
        RefStore.RequireName(name.Name);
        if (name.Collection == CollectionId)
            refs.Write(name.Name, target, Settings.Fsync);
        else
            refs.WriteMirror(name, target, Settings.Fsync);
    }
}
