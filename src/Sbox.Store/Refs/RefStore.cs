using System.Text;
using System.Text.RegularExpressions;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>The directory <c>refs/</c>: one file a ref, holding a checksum and a line feed.</summary>
internal sealed partial class RefStore(Dir repository)
{
    private const int MaximumFileSize = 128;
    private const int MaximumAliases = 8;
    private const string Heads = "refs/heads";
    private const string MirrorsPath = "refs/mirrors";

    /// <summary>Divides <c>REMOTE:REF</c>.</summary>
    /// <exception cref="InvalidRefException">Either part holds what libostree refuses.</exception>
    public static (string? Remote, string Ref) Split(string refspec)
    {
        int colon = refspec.IndexOf(':', StringComparison.Ordinal);
        string? remote = colon < 0 ? null : refspec[..colon];
        string name = refspec[(colon + 1)..];
        if (!Name().IsMatch(name) || HasDots(name))
            throw new InvalidRefException(refspec, "a ref's name is letters, digits, '_', and after the first '-' and '.', with '/' between parts");
        if (remote is not null && !IsRemoteName(remote))
            throw new InvalidRefException(refspec, "a remote's name is letters, digits, '_', and after the first '-' and '.'");
        return (remote, name);
    }

    /// <summary>Whether a remote may be called so.</summary>
    public static bool IsRemoteName(string name) => Fragment().IsMatch(name) && !HasDots(name);

    /// <summary>Asks for the name of a branch, without a remote.</summary>
    /// <exception cref="InvalidRefException">It is none.</exception>
    public static void RequireName(string branch)
    {
        if (Split(branch).Remote is not null)
            throw new InvalidRefException(branch, "a branch has no remote before its name");
    }

    /// <summary>What a ref leads to; null where there is no such ref.</summary>
    public Checksum? Read(string refspec)
    {
        string path = PathOf(refspec);
        try
        {
            return FollowAliases(path) is { } file && repository.TryStat(file) is { IsRegular: true } stat && stat.Size <= MaximumFileSize
                ? Parse(refspec, repository.ReadAll(file))
                : null;
        }
        catch (LinuxException gone) when (gone.Errno == Errno.ENOENT)
        {
            return null; // deleted in between
        }
    }

    /// <summary>What a branch leads to here or, failing that, at any remote; as libostree looks names up.</summary>
    public Checksum? ReadAnywhere(string refspec)
    {
        if (Read(refspec) is { } found)
            return found;
        if (refspec.Contains(':', StringComparison.Ordinal))
            return null;
        // A remote's ref also goes by its path, REMOTE/REF.
        int slash = refspec.IndexOf('/', StringComparison.Ordinal);
        if (slash > 0 && Read($"{refspec[..slash]}:{refspec[(slash + 1)..]}") is { } byPath)
            return byPath;
        using Dir? remotes = repository.TryOpenDir("refs/remotes");
        foreach (DirEntry remote in remotes?.Entries() ?? [])
        {
            if (Read($"{remote.Name}:{refspec}") is { } remote_found)
                return remote_found;
        }

        return null;
    }

    /// <summary>All refs by their full names.</summary>
    public SortedDictionary<string, Checksum> All()
    {
        var all = new SortedDictionary<string, Checksum>(StringComparer.Ordinal);
        using (Dir? heads = repository.TryOpenDir("refs/heads"))
        {
            if (heads is not null)
                Collect(heads, prefix: "", all);
        }

        using Dir? remotes = repository.TryOpenDir("refs/remotes");
        foreach (DirEntry remote in remotes?.Entries() ?? [])
        {
            if (remotes!.TryStat(remote.Name) is not { IsDirectory: true })
                continue;
            using Dir inner = remotes.OpenDir(remote.Name);
            Collect(inner, $"{remote.Name}:", all);
        }

        return all;
    }

    /// <summary>Refs of other collections.</summary>
    public IEnumerable<(CollectionRef Name, Checksum Target)> Mirrors()
    {
        using Dir? mirrors = repository.TryOpenDir(MirrorsPath);
        foreach (DirEntry collection in mirrors?.Entries() ?? [])
        {
            if (!CollectionId().IsMatch(collection.Name) || mirrors!.TryOpenDir(collection.Name) is not { } inner)
                continue;
            var found = new SortedDictionary<string, Checksum>(StringComparer.Ordinal);
            using (inner)
                Collect(inner, prefix: "", found);
            foreach ((string name, Checksum target) in found)
                yield return (new CollectionRef(collection.Name, name), target);
        }
    }

    /// <summary>Points a ref of another collection at a commit, or removes it.</summary>
    public void WriteMirror(CollectionRef name, Checksum? target, bool durable)
    {
        if (!CollectionId().IsMatch(name.Collection))
            throw new InvalidRefException(name.ToString(), $"Invalid collection ID {name.Collection}");
        RequireName(name.Name);
        WriteAt($"{MirrorsPath}/{name.Collection}/{name.Name}", target, durable);
    }

    /// <summary>Branches that stand for others: symbolic links among the branches. Alias and the branch it stands for.</summary>
    public SortedDictionary<string, string> Aliases()
    {
        var aliases = new SortedDictionary<string, string>(StringComparer.Ordinal);
        using Dir? heads = repository.TryOpenDir(Heads);
        if (heads is not null)
            CollectAliases(heads, "", aliases);
        return aliases;
    }

    /// <summary>Makes a branch stand for another, in place of what it was.</summary>
    public void WriteAlias(string alias, string target, bool durable)
    {
        string path = PathOf(alias);
        PathOf(target);
        RemoveEmptyDirectoryAt(path);
        MakeParents(Path.GetDirectoryName(path)!);
        string climb = string.Concat(Enumerable.Repeat("../", alias.Count(static c => c == '/')));
        repository.ReplaceSymlink(climb + target, path);
        if (!durable)
            return;
        using Dir holder = repository.OpenDir(Path.GetDirectoryName(path)!);
        Durable.Sync(holder);
    }

    /// <summary>Points a ref at a commit, or removes it; whole at every moment, and durable on return unless told otherwise.</summary>
    public void Write(string refspec, Checksum? target, bool durable) => WriteAt(PathOf(refspec), target, durable);

    private void WriteAt(string path, Checksum? target, bool durable)
    {
        string parent = Path.GetDirectoryName(path)!, name = Path.GetFileName(path);
        if (target is null)
        {
            using Dir? holder = repository.TryOpenDir(parent);
            if (holder?.TryUnlink(name) == true && durable)
                Durable.Sync(holder);
            return;
        }

        RemoveEmptyDirectoryAt(path);
        List<string> made = MakeParents(parent);
        // By way of tmp/: a leftover beside the refs would be read as one of them.
        string temporary = $"tmp/ref.{Environment.ProcessId}.{Guid.NewGuid():N}";
        try
        {
            WriteFile(temporary, $"{target}\n", durable);
            repository.Rename(temporary, repository, path);
        }
        catch
        {
            repository.TryUnlink(temporary); // the ref m is a file, say, where m/sub wants a directory
            throw;
        }

        foreach (string changed in durable ? [parent, .. made] : Array.Empty<string>())
        {
            using Dir directory = repository.OpenDir(changed);
            Durable.Sync(directory);
        }
    }

    private void WriteFile(string path, string text, bool durable)
    {
        using Microsoft.Win32.SafeHandles.SafeFileHandle file = repository.CreateFile(path);
        RandomAccess.Write(file, Encoding.ASCII.GetBytes(text), 0);
        Linux.Files.ChangeMode(file, 0x1A4 /* 0644, whatever the umask: it is served as it lies */, repository.Of(path));
        if (durable)
            Durable.Sync(file, repository.Of(path));
    }

    // Answers with the directories that got a new name in them.
    private List<string> MakeParents(string parent)
    {
        var changed = new List<string>();
        for (string path = parent; !repository.Exists(path); path = Path.GetDirectoryName(path)!)
            changed.Add(Path.GetDirectoryName(path)!);
        repository.MakeDirs(parent, Repository.InnerDirectoryMode);
        return changed;
    }

    // An alias may lead to another; never out of the branches, wherever a link points.
    private string? FollowAliases(string path)
    {
        for (int links = 0; links < MaximumAliases; links++)
        {
            if (repository.TryStat(path) is not { IsSymlink: true })
                return path;
            string target = Path.GetFullPath(Path.Combine("/", Path.GetDirectoryName(path)!, repository.ReadLink(path)))[1..];
            if (!target.StartsWith(Heads + "/", StringComparison.Ordinal))
                return null;
            path = target;
        }

        return null;
    }

    private void CollectAliases(Dir dir, string prefix, SortedDictionary<string, string> aliases)
    {
        foreach (DirEntry entry in dir.Entries())
        {
            if (dir.TryStat(entry.Name) is { IsDirectory: true })
            {
                using Dir inner = dir.OpenDir(entry.Name);
                CollectAliases(inner, $"{prefix}{entry.Name}/", aliases);
            }
            else if (dir.TryStat(entry.Name) is { IsSymlink: true })
            {
                aliases[prefix + entry.Name] = Path.GetFullPath(Path.Combine("/", prefix, dir.ReadLink(entry.Name)))[1..];
            }
        }
    }

    private void Collect(Dir dir, string prefix, SortedDictionary<string, Checksum> all)
    {
        foreach (DirEntry entry in dir.Entries())
        {
            // As libostree: what other programs leave here (.latest_rsync) is no ref.
            if (entry.Name.StartsWith('.') || dir.TryStat(entry.Name) is not { } stat)
                continue;
            if (stat.IsDirectory)
            {
                using Dir inner = dir.OpenDir(entry.Name);
                Collect(inner, $"{prefix}{entry.Name}/", all);
            }
            else if (stat.IsSymlink)
            {
                if (Read(prefix + entry.Name) is { } stood)
                    all[prefix + entry.Name] = stood;
            }
            else if (stat.IsRegular && stat.Size <= MaximumFileSize)
            {
                all[prefix + entry.Name] = Parse(prefix + entry.Name, dir.ReadAll(entry.Name));
            }
        }
    }

    private void RemoveEmptyDirectoryAt(string path)
    {
        // a/b was deleted and left the directory a: now that the ref a is written, it gives way.
        if (repository.TryStat(path) is not { IsDirectory: true })
            return;
        using (Dir inner = repository.OpenDir(path))
        {
            foreach (DirEntry entry in inner.Entries())
                RemoveEmptyDirectoryAt($"{path}/{entry.Name}");
        }

        repository.RemoveDir(path);
    }

    private static Checksum Parse(string refspec, byte[] bytes)
    {
        string text = Encoding.ASCII.GetString(bytes).TrimEnd();
        return Checksum.TryParse(text, out Checksum checksum) ? checksum : throw new InvalidRefException(refspec, $"its file holds '{text}', no checksum");
    }

    private static string PathOf(string refspec)
    {
        (string? remote, string name) = Split(refspec);
        return remote is null ? $"refs/heads/{name}" : $"refs/remotes/{remote}/{name}";
    }

    private static bool HasDots(string name) => name.Split('/').Any(static part => part is "." or "..");

    [GeneratedRegex(@"\A[\w\d][-._\w\d]*(/[\w\d][-._\w\d]*)*\z")]
    private static partial Regex Name();

    // As D-Bus names things: two parts or more, none beginning with a digit.
    [GeneratedRegex(@"\A[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+\z")]
    private static partial Regex CollectionId();

    [GeneratedRegex(@"\A[\w\d][-._\w\d]*\z")]
    private static partial Regex Fragment();
}
