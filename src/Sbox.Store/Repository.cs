using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// A libostree repository, held open. Reading is safe from several threads at once; writing takes the repository's own lock,
/// which other processes (real <c>ostree</c> among them) respect.
/// </summary>
/// <remarks>docs/formats/repository.md.</remarks>
public sealed partial class Repository : IDisposable
{
    // As libostree: the umask decides who else may enter directories and lock; files are for everyone to read, whatever it is.
    private const uint DirectoryMode = 0x1FD; // 0775

    /// <summary>Of directories below <c>objects/</c> and <c>refs/</c>: 0777.</summary>
    internal const uint InnerDirectoryMode = 0x1FF;

    private const int MaximumParents = 8; // one that is its own grandparent leads nowhere

    private readonly RefStore refs;

    private Repository(Dir dir, KeyFile config, RepositoryMode mode, Repository? parent, string? remotesDirectory)
    {
        (Dir, Config, Mode, Parent, this.remotesDirectory) = (dir, config, mode, parent, remotesDirectory);
        Settings = RepositorySettings.From(config);
        Objects = new ObjectStore(dir.OpenDir("objects"), mode, parent?.Objects);
        refs = new RefStore(dir);
    }

    /// <summary>The path it was opened by.</summary>
    public string Path => Dir.Path;

    /// <summary>How it keeps its file objects.</summary>
    public RepositoryMode Mode { get; }

    /// <summary>Its directory; belongs to this object.</summary>
    public Dir Dir { get; }

    /// <summary>Its <c>config</c> as it was when opened or last written.</summary>
    public KeyFile Config { get; private set; }

    /// <summary>Whether what is written is made durable; the config's <c>core.fsync</c> until it is set, for this object only.</summary>
    public bool Fsync
    {
        get => Settings.Fsync;
        set => Settings = Settings with { Fsync = value };
    }

    /// <summary>The repository that has what this one lacks (<c>core.parent</c>); null where there is none.</summary>
    public Repository? Parent { get; }

    internal ObjectStore Objects { get; }

    internal RepositorySettings Settings { get; private set; }

    /// <summary>Makes a repository, its parent directories included; one that is there already is opened as it is, whatever its mode.</summary>
    /// <param name="path">Where.</param>
    /// <param name="mode">How it keeps file objects.</param>
    /// <param name="collectionId">The collection that its branches belong to; null for none.</param>
    /// <exception cref="UnsupportedRepositoryException">The repository that is there is of a mode or version that is not handled.</exception>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public static Repository Create(string path, RepositoryMode mode, string? collectionId = null)
    {
        using (Dir here = Dir.Open("."))
            here.MakeDirs(System.IO.Path.TrimEndingDirectorySeparator(path), DirectoryMode);
        using Dir dir = Dir.Open(path);
        foreach (string name in new[] { "objects", "tmp/cache", "extensions", "state", "refs/heads", "refs/mirrors", "refs/remotes" })
            dir.MakeDirs(name, DirectoryMode);
        if (!dir.Exists("config"))
        {
            Durable.Sync(dir);
            // Last, since it is what makes a directory a repository.
            KeyFile config = KeyFile.Empty.With("core", "repo_version", "1").With("core", "mode", mode.Name());
            if (collectionId is not null)
                config = config.With("core", "collection-id", collectionId);
            Durable.Replace(dir, "config", Encoding.UTF8.GetBytes(config.ToString()));
        }

        return Open(path);
    }

    /// <summary>Opens a repository.</summary>
    /// <param name="path">Its directory.</param>
    /// <param name="remotesDirectory">
    /// A directory whose files <c>*.conf</c> define remotes beside the config's; need not be there. Null: <c>/etc/ostree/remotes.d</c> for the
    /// repository of this machine, none for others. Empty: none.
    /// </param>
    /// <exception cref="NotARepositoryException">There is none, or its config cannot be read.</exception>
    /// <exception cref="UnsupportedRepositoryException">It is of a mode or version that is not handled.</exception>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public static Repository Open(string path, string? remotesDirectory = null) => Open(path, remotesDirectory, depth: 0);

    private static Repository Open(string path, string? remotesDirectory, int depth)
    {
        Dir? dir = null;
        try
        {
            dir = Dir.Open(path);
            byte[] bytes = dir.TryReadAll("config") ?? throw new NotARepositoryException(path, "no file 'config'");
            KeyFile config = KeyFile.Parse(Encoding.UTF8.GetString(bytes));
            if (config.Get("core", "repo_version") is var version && version != "1")
                throw version is null
                    ? new NotARepositoryException(path, "its config has no core.repo_version")
                    : new UnsupportedRepositoryException(path, "core.repo_version", version);
            string name = config.GetString("core", "mode") ?? "bare";
            RepositoryMode mode = RepositoryModes.TryParse(name) ?? throw new UnsupportedRepositoryException(path, "core.mode", name);
            Repository? parent = config.GetString("core", "parent") is { Length: > 0 } parentPath ? OpenParent(path, parentPath, depth) : null;
            dir.TryMakeDir("tmp"); // whoever clears caches may take it along
            return new Repository(dir, config, mode, parent, remotesDirectory);
        }
        catch (MalformedException malformed)
        {
            dir?.Dispose();
            throw new NotARepositoryException(path, $"its config cannot be read: {malformed.Message}", malformed);
        }
        catch (LinuxException refused) when (refused.Errno is Errno.ENOENT or Errno.ENOTDIR)
        {
            dir?.Dispose();
            throw new NotARepositoryException(path, dir is null ? "no such directory" : refused.Message, refused);
        }
        catch
        {
            dir?.Dispose();
            throw;
        }
    }

    /// <summary>Replaces the config as a whole; a power cut leaves the old one or the new.</summary>
    /// <exception cref="MalformedException">A setting holds what it cannot; nothing was written.</exception>
    /// <remarks>Mode and version are read when a repository is opened: changing them here changes nothing until then.</remarks>
    public void WriteConfig(KeyFile config)
    {
        var settings = RepositorySettings.From(config); // what cannot be read again must not be written
        Durable.Replace(Dir, "config", Encoding.UTF8.GetBytes(config.ToString()));
        (Config, Settings, definitions) = (config, settings, null);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Objects.Dispose();
        Dir.Dispose();
        Parent?.Dispose();
    }

    /// <summary>This one, its parent, and so on.</summary>
    internal IEnumerable<Repository> WithParents()
    {
        for (Repository? at = this; at is not null; at = at.Parent)
            yield return at;
    }

    private static Repository OpenParent(string path, string parent, int depth) => depth < MaximumParents
        ? Open(parent, remotesDirectory: null, depth + 1)
        : throw new NotARepositoryException(path, $"its config leads to more than {MaximumParents} parents");
}
