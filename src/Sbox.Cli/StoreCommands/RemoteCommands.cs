using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary><c>remote</c>: where a repository pulls from.</summary>
internal static class RemoteCommands
{
    public static Command Remote()
    {
        var remote = new DocumentedCommand("remote", "List, add and remove the repositories to pull from");
        remote.Subcommands.Add(RemoteAdd());
        remote.Subcommands.Add(RemoteKeyCommands.Import());
        remote.Subcommands.Add(RemoteKeyCommands.List());
        var urls = new Option<bool>("--show-urls", "-u") { Description = "Show their addresses too" };
        remote.Subcommands.Add(new DocumentedCommand("list", "List the remotes' names").With(urls).OnRepository((parsed, repository, _) =>
        {
            string[] names = [.. repository.RemoteNames()];
            int width = names.Select(static name => name.Length).DefaultIfEmpty().Max();
            foreach (string name in names)
            {
                JsonAnswers.Say(writer =>
                {
                    writer.WriteString("remote", name);
                    writer.WriteString("url", repository.RemoteUrl(name));
                });
                Console.Out.WriteLine(parsed.GetValue(urls) ? $"{name.PadRight(width)}  {repository.RemoteUrl(name)}" : name);
            }

            return 0;
        }));
        var shown = new Argument<string>("NAME") { Description = "The remote" };
        remote.Subcommands.Add(new DocumentedCommand("show-url", "Print a remote's address").With(shown).OnRepository((parsed, repository, _) =>
        {
            string asked = parsed.GetValue(shown)!;
            Console.Out.WriteLine(repository.RemoteUrl(asked) ?? throw (repository.RemoteNames().Contains(asked)
                ? new Finding($"No \"url\" option in remote \"{asked}\"", "remote add --force NAME URL gives it one")
                : new RemoteNotFoundException(repository.Path, asked)));
            return 0;
        }));
        var gone = new Argument<string>("NAME") { Description = "The remote" };
        var ifExists = new Option<bool>("--if-exists") { Description = "Do nothing where there is none by that name" };
        remote.Subcommands.Add(new DocumentedCommand("delete", "Remove a remote; what was pulled stays").With(gone, ifExists).OnSystem().OnRepository((parsed, repository, _) =>
        {
            string name = parsed.GetValue(gone)!;
            if (repository.DefinesRemote(name))
                repository.DeleteRemote(name);
            else if (!parsed.GetValue(ifExists))
                throw new RemoteNotFoundException(repository.Path, name);
            return 0;
        }));
        remote.Subcommands.Add(RemoteServerCommands.AddCookie());
        remote.Subcommands.Add(RemoteServerCommands.DeleteCookie());
        remote.Subcommands.Add(RemoteServerCommands.ListCookies());
        remote.Subcommands.Add(RemoteServerCommands.Refs());
        remote.Subcommands.Add(RemoteServerCommands.Summary());
        return remote;
    }

    private static Command RemoteAdd()
    {
        var name = new Argument<string>("NAME") { Description = "The new remote" };
        var url = new Argument<string?>("URL") { Arity = ArgumentArity.ZeroOrOne, Description = "Where its files are; mirrorlist=URL or metalink=URL for a list of such places" };
        var branches = new Argument<string[]>("BRANCH") { Description = "What a pull takes where it names nothing", Arity = ArgumentArity.ZeroOrMore };
        var noGpg = new Option<bool>("--no-gpg-verify") { Description = "Do not ask for GPG signatures" };
        var noSign = new Option<bool>("--no-sign-verify") { Description = "Do not ask for other signatures either" };
        var set = new Option<string[]>("--set") { Description = "One more setting of the remote", HelpName = "KEY=VALUE" };
        var sign = new Option<string[]>("--sign-verify") { Description = "Ask for signatures by a key: KEYTYPE=inline:PUBKEY or KEYTYPE=file:PATH", HelpName = "KEYTYPE=[inline|file]:PUBKEY" };
        var import = new Option<string[]>("--gpg-import") { Description = "A file with GPG keys to believe", HelpName = "FILE" };
        var collection = new Option<string?>("--collection-id") { Description = "The remote's collection", HelpName = "COLLECTION-ID" };
        var contentUrl = new Option<string?>("--contenturl") { Description = "Where its files and deltas are, in place of URL", HelpName = "URL" };
        var backend = new Option<string?>("--custom-backend") { Description = "Its content is not fetched by this program, but by that one", HelpName = "NAME" };
        var unless = new Option<bool>("--if-not-exists") { Description = "Do nothing where there is one by that name" };
        var force = new Option<bool>("--force") { Description = "Replace one by that name" };
        return new DocumentedCommand("add", "Add a remote").With(name, url, branches, noGpg, noSign, set, sign, import, collection, contentUrl, backend, unless, force).OnSystem().OnRepository((parsed, repository, _) =>
        {
            if (parsed.GetValue(unless) && parsed.GetValue(force))
                throw new Finding("Can only specify one of --if-not-exists and --force", "one of them");
            if (parsed.GetValue(noSign) && parsed.GetValue(sign) is { Length: > 0 })
                throw new Finding("Cannot specify both --sign-verify and --no-sign-verify", "one of them");
            string remote = parsed.GetValue(name)!;
            if (repository.DefinesRemote(remote) && !parsed.GetValue(force))
                return parsed.GetValue(unless) ? 0 : throw AlreadyThere(repository, remote);
            if (parsed.GetValue(url) is null && parsed.GetValue(backend) is null)
                throw new Finding("NAME and URL must be specified", "remote add NAME URL");
            repository.ChangeRemote(remote, file => WithSettings(file.WithoutGroup(Group(remote)), Group(remote)));
            if (parsed.GetValue(import) is { Length: > 0 } files)
                RemoteKeyCommands.Report(repository.GpgImport(remote, files, []), remote);
            return 0;

            KeyFile WithSettings(KeyFile config, string group)
            {
                if (parsed.GetValue(url) is { } address)
                    config = config.With(group, "url", address);
                if (parsed.GetValue(branches) is { Length: > 0 } given)
                    config = config.With(group, "branches", string.Concat(given.Select(static branch => branch + ";")));
                foreach (string pair in parsed.GetValue(set) ?? [])
                    config = config.With(group, pair.Split('=', 2)[0], pair.Split('=', 2) is [_, var value] ? value : throw new Finding($"Missing '=' in KEY=VALUE for --set '{pair}'", "--set=KEY=VALUE"));
                config = WithVerification(config, group, parsed.GetValue(sign) ?? []);
                if (parsed.GetValue(noGpg) || parsed.GetValue(noSign))
                    config = config.With(group, "gpg-verify", "false");
                if (parsed.GetValue(noSign))
                    config = config.With(group, "sign-verify", "false");
                if (parsed.GetValue(collection) is { } id)
                    config = config.With(group, "collection-id", id);
                if (parsed.GetValue(contentUrl) is { } content)
                    config = config.With(group, "contenturl", content);
                return parsed.GetValue(backend) is { } other ? config.With(group, "custom-backend", other) : config;
            }
        });
    }

    private static Finding AlreadyThere(Repository repository, string remote)
    {
        string where = repository.RemoteFile(remote) is { } file ? $": {file}" : "";
        return new Finding($"Remote configuration for \"{remote}\" already exists{where}", "--force replaces it, --if-not-exists keeps it");
    }

    // KEYTYPE=inline:KEY and KEYTYPE=file:PATH become the settings that a pull reads.
    private static KeyFile WithVerification(KeyFile config, string group, string[] given)
    {
        var engines = new List<string>();
        foreach (string one in given)
        {
            if (one.Split('=', 2) is not [var type, var reference])
                throw new Finding($"Failed to parse KEYTYPE=[inline|file]:DATA in {one}", "--sign-verify=ed25519=inline:KEY");
            SignatureEngine engine = SignatureEngine.Of(type);
            config = reference.Split(':', 2) switch
            {
                ["inline", var key] => config.With(group, $"verification-{engine.Name}-key", key),
                ["file", var path] => config.With(group, $"verification-{engine.Name}-file", path),
                _ => throw new Finding($"Invalid key reference {reference}, expected inline|file", "--sign-verify=ed25519=file:PATH"),
            };
            if (!engines.Contains(engine.Name))
                engines.Add(engine.Name);
        }

        return engines.Count > 0 ? config.With(group, "sign-verify", string.Concat(engines.Select(static name => name + ";"))) : config;
    }

    private static string Group(string name) => $"remote \"{name}\"";
}
