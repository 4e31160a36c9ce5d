using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// The remotes that a repository defines: in its config, and in the files <c>*.conf</c> of a directory (<c>remotes.d</c>) where it has one.
/// New ones go into the directory, since the repository of a machine that runs is often read-only.
/// </summary>
/// <remarks>docs/formats/repository.md, after ostree.repo-config(5).</remarks>
internal sealed class RemoteDefinitions
{
    private const string Suffix = ".conf";
    private readonly Repository repository;
    private readonly string? directory;
    private readonly Dictionary<string, Definition> definitions = [];

    /// <param name="repository">The repository.</param>
    /// <param name="directory">Its directory of definitions, which need not be there; null for none.</param>
    /// <exception cref="RemotesException">A file cannot be read, or two have the same remote.</exception>
    public RemoteDefinitions(Repository repository, string? directory)
    {
        (this.repository, this.directory) = (repository, directory);
        Add(repository.Config, file: null);
        foreach (string file in Files(directory))
            Add(Read(file), file);
    }

    /// <summary>The remotes' names.</summary>
    public IEnumerable<string> Names => definitions.Keys;

    /// <summary>What has the remote's group; null where nothing has.</summary>
    public KeyFile? Find(string name) => definitions.TryGetValue(name, out Definition? found) ? found.Holder : null;

    /// <summary>The file that a remote is defined in; null for the config, and where there is none by that name.</summary>
    public string? FileOf(string name) => definitions.TryGetValue(name, out Definition? found) ? found.File : null;

    /// <summary>Changes what defines a remote, where that is; a new one is defined in the directory, unless the config says otherwise.</summary>
    /// <exception cref="RemotesException">It is new, and its name is none.</exception>
    public void Change(string name, Func<KeyFile, KeyFile> change)
    {
        if (!definitions.ContainsKey(name) && !RefStore.IsRemoteName(name))
            throw new RemotesException(repository.Path, $"Invalid remote name {name}");
        string? file = definitions.TryGetValue(name, out Definition? there) ? there.File : PlaceOfNew(name);
        if (file is null)
            repository.WriteConfig(change(repository.Config));
        else
            Write(file, change(there?.Holder ?? (File.Exists(file) ? Read(file) : KeyFile.Empty)));
    }

    private string? PlaceOfNew(string name) =>
        directory is not null && repository.Config.GetBoolean("core", "add-remotes-config-dir", otherwise: true) ? $"{directory}/{name}{Suffix}" : null;

    private void Add(KeyFile holder, string? file)
    {
        foreach (string name in holder.Groups.Select(RemoteSettings.NameOf).OfType<string>().Distinct())
        {
            if (!definitions.TryAdd(name, new Definition(holder, file)))
                throw new RemotesException(file!, $"Multiple specifications found for remote \"{name}\"; {definitions[name].File ?? repository.Dir.Of("config")} has one too");
        }
    }

    // What leads nowhere, or is no file, defines nothing; so libostree has it.
    private static IEnumerable<string> Files(string? directory) => !Directory.Exists(directory) ? [] : Directory.EnumerateFiles(directory)
        .Where(static file => file.EndsWith(Suffix, StringComparison.Ordinal) && LeadsToFile(file)).Order(StringComparer.Ordinal);

    // File.Exists is true of a link that leads nowhere.
    private static bool LeadsToFile(string file) => File.ResolveLinkTarget(file, returnFinalTarget: true)?.Exists ?? File.Exists(file);

    private static KeyFile Read(string file)
    {
        try
        {
            return KeyFile.Parse(File.ReadAllText(file));
        }
        catch (MalformedException malformed)
        {
            throw new RemotesException(file, malformed.Message, malformed);
        }
    }

    // A file that has nothing more to say goes.
    private static void Write(string file, KeyFile content)
    {
        using Dir holder = Dir.Open(Directory.CreateDirectory(Path.GetDirectoryName(file)!).FullName);
        string name = Path.GetFileName(file);
        if (content.Groups.Any())
            Durable.Replace(holder, name, Encoding.UTF8.GetBytes(content.ToString()));
        else if (holder.TryUnlink(name))
            Durable.Sync(holder);
    }

    private sealed record Definition(KeyFile Holder, string? File);
}
