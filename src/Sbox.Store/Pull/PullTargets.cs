using System.Globalization;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Which refs a pull sets, and what a commit must be like before one leads to it: bound to it, and no older than the one it follows.</summary>
internal sealed record PullTargets
{
    /// <summary>Where the refs are set.</summary>
    public required Repository Repository { get; init; }

    /// <summary>Whose refs they are; null for this repository's own.</summary>
    public string? Remote { get; init; }

    /// <summary>The collection that the source says its refs belong to; null for none.</summary>
    public string? Collection { get; init; }

    /// <summary>Refs are kept as the source has them: as branches, or in <c>refs/mirrors</c> where they belong to a collection.</summary>
    public bool Mirror { get; init; }

    /// <summary>No ref is set.</summary>
    public bool WithoutRefs { get; init; }

    /// <summary>A commit that says to which refs it belongs is taken for no other; one of a collection must say so.</summary>
    public bool VerifyBindings { get; init; } = true;

    /// <summary>A commit must be no older than the one that its ref leads to.</summary>
    public bool NoOlder { get; init; }

    /// <summary>It must be no older than this one either.</summary>
    public string? NoOlderThan { get; init; }

    /// <summary>Where a ref is kept, as it is shown.</summary>
    public string RefspecOf(string branch) => Remote is null || Mirror ? branch : $"{Remote}:{branch}";

    /// <summary>Asks for names of branches: a server that names one <c>REMOTE:REF</c> would set what another remote is believed for.</summary>
    /// <exception cref="InvalidRefException">One is none.</exception>
    public static void RequireNames(IReadOnlyDictionary<string, Checksum> wanted)
    {
        foreach (string branch in wanted.Keys.Where(static name => !Checksum.TryParse(name, out _)))
            RefStore.RequireName(branch);
    }

    /// <summary>As what a commit was asked for: branches, or its checksum. None for one that was not.</summary>
    public static IEnumerable<string> NamesOf(Checksum commit, IReadOnlyDictionary<string, Checksum> wanted) => wanted.Where(item => item.Value == commit).Select(static item => item.Key);

    /// <summary>Checks the age of a commit that was asked for, as soon as it is here.</summary>
    /// <exception cref="PullException">It is older than it may be.</exception>
    public void CheckAge(string source, IReadOnlyDictionary<string, Checksum> wanted, Checksum checksum, Commit commit)
    {
        if (NoOlderThan is { } limit)
            CheckAge(source, Repository.Resolve(limit), checksum, commit);
        if (!NoOlder)
            return;
        foreach ((string branch, Checksum _) in wanted.Where(item => item.Value == checksum && !Checksum.TryParse(item.Key, out _)))
        {
            if (Current(branch) is { } current && current != checksum && Repository.Has(new ObjectName(current, ObjectType.Commit)))
                CheckAge(source, current, checksum, commit);
        }
    }

    /// <summary>Sets the refs when the transaction is committed.</summary>
    /// <returns>Refs and what they lead to then, or would.</returns>
    /// <exception cref="PullException">A commit does not belong to the ref; none was set.</exception>
    /// <exception cref="InvalidRefException">The source names a branch as none may be named; none was set.</exception>
    public Dictionary<string, Checksum> Set(Transaction transaction, string source, IReadOnlyDictionary<string, Checksum> wanted)
    {
        RequireNames(wanted);
        var refs = new Dictionary<string, Checksum>();
        foreach ((string branch, Checksum commit) in wanted.Where(static item => !Checksum.TryParse(item.Key, out _)))
        {
            if (VerifyBindings)
                VerifyBinding(transaction, source, branch, commit);
            refs.Add(RefspecOf(branch), commit);
            if (WithoutRefs)
                continue;
            if (Mirrored(branch) is { } mirrored)
                transaction.SetCollectionRef(mirrored, commit);
            else
                transaction.SetRef(RefspecOf(branch), commit);
        }

        return refs;
    }

    // What the place leads to now where Set will write.
    private Checksum? Current(string branch)
    {
        if (Mirrored(branch) is not { } mirrored)
            return Repository.TryResolve(RefspecOf(branch));
        return Repository.CollectionRefs(mirrored.Collection, withRemotes: false).TryGetValue(mirrored, out Checksum current) ? current : null;
    }

    private CollectionRef? Mirrored(string branch) => Mirror && Collection is { } collection ? new CollectionRef(collection, branch) : null;

    // A server that answers for one branch with the commit of another is mistaken, or worse.
    private void VerifyBinding(Transaction transaction, string source, string branch, Checksum commit)
    {
        Commit loaded = Commit.Parse(transaction.TryLoadMetadata(new ObjectName(commit, ObjectType.Commit))!);
        string path = $"{source}/refs/heads/{branch}";
        if (!loaded.IsBoundTo(branch))
            throw new PullException(path, $"a commit bound to '{branch}'", $"{commit}, bound to {loaded.Metadata[Commit.RefBinding]}");
        if (Collection is not { } collection)
            return;
        if (loaded.Metadata[Commit.RefBinding] is null)
            throw new PullException(path, $"a commit bound to '{branch}', as those of a collection are", $"{commit}, bound to none");
        if (loaded.Metadata.GetString(CollectionRef.Binding) != collection)
            throw new PullException(path, $"a commit of the collection '{collection}'", $"{commit}, of {loaded.Metadata[CollectionRef.Binding]?.ToString() ?? "none"}");
    }

    private void CheckAge(string source, Checksum current, Checksum checksum, Commit commit)
    {
        Commit old = Repository.LoadCommit(current);
        if (commit.Timestamp >= old.Timestamp)
            return;
        throw new PullException(source, $"a commit of {Shown(old)} or later", $"{checksum}, of {Shown(commit)}")
        {
            IsOlder = true,
            Words = $"Upgrade target revision '{checksum}' with timestamp '{Shown(commit)}' is chronologically older than current revision '{current}' with timestamp '{Shown(old)}'",
        };
    }

    private static string Shown(Commit commit) => commit.Time.ToString("ddd dd MMM yyyy HH:mm:ss 'UTC'", CultureInfo.InvariantCulture);
}
