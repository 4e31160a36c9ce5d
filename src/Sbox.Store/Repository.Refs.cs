using Sbox.Codecs;

namespace Sbox.Store;

public sealed partial class Repository
{
    /// <summary>The commit that a revision means: REF, REMOTE:REF, a checksum or the unique beginning of one, each with ^ for its parent.</summary>
    /// <exception cref="RefNotFoundException">There is none.</exception>
    /// <exception cref="AmbiguousRevisionException">Several commits begin with these digits.</exception>
    public Checksum Resolve(string revision) => TryResolve(revision) ?? throw new RefNotFoundException(Path, revision);

    /// <summary>As <see cref="Resolve"/>, null where there is no such ref or commit. A full checksum is taken at its word.</summary>
    /// <exception cref="InvalidRefException">The revision is nothing that could be a ref's name.</exception>
    /// <exception cref="RefNotFoundException">The parent of a commit without one was asked for.</exception>
    public Checksum? TryResolve(string revision)
    {
        if (Checksum.TryParse(revision, out Checksum checksum))
            return checksum;
        if (ResolvePrefix(revision) is { } found)
            return found;
        if (!revision.EndsWith('^'))
            return refs.ReadAnywhere(revision) ?? Parent?.TryResolve(revision);
        return TryResolve(revision[..^1]) is { } child
            ? LoadCommit(child).Parent ?? throw new RefNotFoundException(Path, revision, child)
            : null;
    }

    /// <summary>Refs by their names, <c>main</c> or <c>origin:main</c>, in order.</summary>
    /// <param name="prefix">Only this ref and those below it (<c>os</c> for <c>os/debian</c>); with a colon, of that remote.</param>
    /// <exception cref="InvalidRefException">The prefix is nothing that could be a ref's name: empty, or with a slash at its end.</exception>
    public IReadOnlyDictionary<string, Checksum> Refs(string? prefix = null)
    {
        SortedDictionary<string, Checksum> all = refs.All();
        if (prefix is null)
            return all;
        if (prefix.EndsWith(":.", StringComparison.Ordinal)) // as older programs ask for all of a remote
            prefix = prefix[..^1];
        if (!prefix.EndsWith(':'))
            RefStore.Split(prefix);
        string below = prefix.EndsWith(':') ? prefix : prefix + "/";
        foreach (string name in all.Keys.ToArray())
        {
            if (name != prefix && !name.StartsWith(below, StringComparison.Ordinal))
                all.Remove(name);
        }

        return all;
    }

    /// <summary>Points a ref at a commit, or deletes it. Durable on return; a reader at any moment finds the old commit or the new.</summary>
    /// <param name="refspec"><c>main</c> or <c>origin:main</c>.</param>
    /// <param name="target">The commit; null deletes.</param>
    /// <exception cref="InvalidRefException">The name holds what libostree refuses.</exception>
    public void SetRef(string refspec, Checksum? target)
    {
        refs.Write(refspec, target, durable: Settings.Fsync);
        RefsChanged();
    }

    /// <summary>As <see cref="SetRef"/>, of several at once.</summary>
    internal void SetRefs(IReadOnlyDictionary<string, Checksum?> changes, IReadOnlyDictionary<CollectionRef, Checksum?> ofCollections)
    {
        foreach ((string refspec, Checksum? target) in changes)
            refs.Write(refspec, target, durable: Settings.Fsync);
        foreach ((CollectionRef name, Checksum? target) in ofCollections)
            WriteCollectionRef(name, target);
        if (changes.Count + ofCollections.Count > 0)
            RefsChanged();
    }

    // core.auto-update-summary, and its older name core.commit-update-summary.
    private void RefsChanged()
    {
        if (Config.GetBoolean("core", "auto-update-summary") || Config.GetBoolean("core", "commit-update-summary"))
            WriteSummary();
    }

    /// <summary>Branches that stand for others, with those; <c>ostree refs -A</c>.</summary>
    public IReadOnlyDictionary<string, string> Aliases() => refs.Aliases();

    /// <summary>Makes a branch stand for another: whoever asks for it gets what the other leads to at that time.</summary>
    /// <exception cref="InvalidRefException">One of the names holds what libostree refuses, or is a remote's.</exception>
    public void SetAlias(string alias, string target)
    {
        if (alias.Contains(':', StringComparison.Ordinal) || target.Contains(':', StringComparison.Ordinal))
            throw new InvalidRefException(alias, "Cannot create alias to remote ref");
        refs.WriteAlias(alias, target, durable: Settings.Fsync);
        RefsChanged();
    }

    private Checksum? ResolvePrefix(string digits)
    {
        if (digits.Length is 0 or >= 64 || digits.AsSpan().ContainsAnyExcept("0123456789abcdef"))
            return null;
        List<Checksum> found = [.. Objects.EnumerateBeginning(digits, ".commit")
            .Select(static name => name.Checksum).Take(2)];
        return found.Count switch
        {
            0 => null,
            1 => found[0],
            _ => throw new AmbiguousRevisionException(Path, digits),
        };
    }
}
