using System.IO.Compression;
using System.Text;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Image;

/// <summary>A commit's tree has no list of packages, neither in its metadata nor in its files.</summary>
/// <param name="commit">The commit.</param>
public sealed class NoPackageListException(Checksum commit)
    : IOException($"commit {commit}: its metadata has no list of packages ({ImageBuilder.PackagesKey}), and its files no dpkg database that is here")
{
    /// <summary>The commit.</summary>
    public Checksum Commit { get; } = commit;
}

/// <summary>How much two trees differ by.</summary>
/// <param name="New">Bytes of files that only the new one has.</param>
/// <param name="Gone">Bytes of files that only the old one has.</param>
public sealed record TreeSizes(long New, long Gone);

/// <summary>What changed from one Debian tree to another, as a person wants to know it before taking it.</summary>
/// <param name="Packages">Packages that are not the same.</param>
/// <param name="Etc">Defaults of /etc that are not the same, by their paths there; null where the files of one tree are not here.</param>
/// <param name="Sizes">How much they differ by; null where the files of one tree are not here.</param>
/// <param name="ToFetch">Bytes that are to be fetched yet, where the commit's metadata says so; null where it does not.</param>
public sealed record TreeChanges(IReadOnlyList<PackageChange> Packages, TreeDiff? Etc, TreeSizes? Sizes, long? ToFetch)
{
    private const string Defaults = "/usr/etc";
    private const string Documents = "/usr/share/doc";
    private const int ChangelogAtMost = 16 << 20; // of text; the longest that Debian has is a third of that
    private static readonly string[] Databases = ["/usr/lib/sysimage/dpkg/status", "/var/lib/dpkg/status"];

    /// <summary>Compares two commits. Of those whose files are not here the lists of packages are enough.</summary>
    /// <exception cref="NoPackageListException">One of them has none.</exception>
    /// <exception cref="ObjectMissingException">A commit object is not here.</exception>
    public static TreeChanges Between(Repository repository, Checksum old, Checksum @new, CancellationToken cancel = default)
    {
        bool whole = IsHere(repository, old) && IsHere(repository, @new);
        IReadOnlyList<PackageChange> packages = PackageChange.Between(PackagesOf(repository, old), PackagesOf(repository, @new));
        if (IsHere(repository, @new))
            packages = [.. packages.Select(change => WithChangelog(repository, @new, change, cancel))];
        long? toFetch = repository.LoadCommit(@new).Sizes?.Where(size => !repository.Has(size.Name)).Sum(static size => size.Stored);
        return new TreeChanges(packages, whole ? EtcBetween(repository, old, @new, cancel) : null, whole ? SizesBetween(repository, old, @new, cancel) : null, toFetch);
    }

    private static bool IsHere(Repository repository, Checksum commit) => !repository.IsPartial(commit);

    private static IReadOnlyList<InstalledPackage> PackagesOf(Repository repository, Checksum commit)
    {
        if (repository.LoadCommit(commit).Metadata[ImageBuilder.PackagesKey] is { Type.Signature: "as" } list)
            return [.. list.Items.Select(static item => item.Text.Split(' ')).Where(static field => field.Length == 3).Select(static field => new InstalledPackage(field[0], field[1], field[2]))];
        string? database = IsHere(repository, commit) ? Databases.FirstOrDefault(path => repository.TryFind(commit, path) is { IsDirectory: false }) : null;
        return database is null ? throw new NoPackageListException(commit)
            : PackageList.Parse(Encoding.UTF8.GetString(Read(repository.Follow(commit, database).OpenContent(), int.MaxValue)));
    }

    private static PackageChange WithChangelog(Repository repository, Checksum commit, PackageChange change, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        if (change is not { Kind: PackageChangeKind.Upgraded, Old: { } old } || FindChangelog(repository, commit, change.Name) is not { } file)
            return change;
        try
        {
            using var text = new GZipStream(file.OpenContent(), CompressionMode.Decompress);
            return change with { Changelog = Changelog.Since(Encoding.UTF8.GetString(Read(text, ChangelogAtMost)), new DebianVersion(old.Version)) };
        }
        catch (InvalidDataException)
        {
            return change; // a name that promises what the file is not tells nothing
        }
    }

    // A package's directory may be a link to another's. Native packages have the second name.
    private static FileObject? FindChangelog(Repository repository, Checksum commit, string package)
    {
        string directory = $"{Documents}/{package}";
        if (repository.TryFind(commit, directory) is { Content: { } link } && repository.LoadFile(link).SymlinkTarget is { } target)
            directory = Path.GetFullPath(Path.Combine(Documents, target));
        string? path = ((string[])[$"{directory}/changelog.Debian.gz", $"{directory}/changelog.gz"]).FirstOrDefault(each => repository.TryFind(commit, each) is { IsDirectory: false });
        try
        {
            return path is null ? null : repository.Follow(commit, path);
        }
        catch (TreePathException)
        {
            return null; // a link that leads nowhere
        }
    }

    private static TreeDiff EtcBetween(Repository repository, Checksum old, Checksum @new, CancellationToken cancel)
    {
        TreeDiff all = repository.Diff(old, @new, cancel);
        return new TreeDiff(Below(all.Modified), Below(all.Removed), Below(all.Added));

        static IReadOnlyList<string> Below(IReadOnlyList<string> paths) =>
            [.. paths.Where(static path => path.StartsWith(Defaults + "/", StringComparison.Ordinal)).Select(static path => path["/usr".Length..])];
    }

    private static TreeSizes SizesBetween(Repository repository, Checksum old, Checksum @new, CancellationToken cancel)
    {
        IReadOnlySet<ObjectName> before = repository.ObjectsOf(old, cancel), after = repository.ObjectsOf(@new, cancel);
        return new TreeSizes(Size(after.Except(before)), Size(before.Except(after)));

        long Size(IEnumerable<ObjectName> names) => names.Where(static name => name.Type == ObjectType.File).Sum(name => repository.LoadFile(name.Checksum).Size);
    }

    private static byte[] Read(Stream stream, int most)
    {
        using var bytes = new MemoryStream();
        byte[] buffer = new byte[64 * 1024];
        for (int read; bytes.Length < most && (read = stream.Read(buffer)) > 0;)
            bytes.Write(buffer, 0, read);
        return bytes.ToArray();
    }
}
