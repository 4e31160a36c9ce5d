using System.CommandLine;
using System.Text;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox remote</c>: where a box takes its versions from, and by what it believes them.</summary>
internal static class RemoteCommand
{
    public static Command Make()
    {
        var remote = new DocumentedCommand("remote", "Show where versions come from, and say by what they are believed")
        {
            Details = ["Remotes are added and changed by sbox store remote, as ostree does it."],
        };
        remote.Subcommands.Add(List());
        remote.Subcommands.Add(Show());
        remote.Subcommands.Add(Trust());
        return remote;
    }

    private static Option<string?> Repo() => new("--repo") { Description = "A repository, in place of the box's own", HelpName = "PATH" };

    private static Argument<string> Name() => new("NAME") { Description = "The remote" };

    private static Command List()
    {
        (Option<string?> repo, Option<string> sysroot, Option<bool> json) = (Repo(), SharedOptions.Sysroot(), SharedOptions.Json());
        Command command = new DocumentedCommand("list", "List the remotes").With(repo, sysroot, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Repository repository = Repository.Open(PathOf(parsed, repo, sysroot));
            foreach (string name in repository.RemoteNames())
            {
                (RemoteTrustState? state, string? trouble) = Believed(repository, name);
                string trust = trouble is not null ? $"nothing is taken from there: {trouble}"
                    : state is null ? "no trust document: believed as its settings say" : TrustText.Of(name, state, TimeProvider.System.GetUtcNow());
                speaker.Answer($"{name}  {repository.RemoteUrl(name)}\n  {trust}", writer =>
                {
                    writer.WriteString("remote", name);
                    writer.WriteString("url", repository.RemoteUrl(name));
                    if (trouble is not null)
                        writer.WriteString("trouble", trouble);
                    if (state is null)
                    {
                        writer.WriteNull("trust");
                        return;
                    }

                    writer.WriteStartObject("trust");
                    TrustText.Write(writer, name, state);
                    writer.WriteEndObject();
                });
            }

            return 0;
        });
        return command;
    }

    private static Command Show()
    {
        Argument<string> name = Name();
        (Option<string?> repo, Option<string> sysroot, Option<bool> json) = (Repo(), SharedOptions.Sysroot(), SharedOptions.Json());
        Command command = new DocumentedCommand("show", "Show the trust document that a remote is believed by").With(name, repo, sysroot, json);
        command.SetAction(parsed =>
        {
            using Repository repository = Repository.Open(PathOf(parsed, repo, sysroot));
            string remote = Known(repository, parsed.GetValue(name)!);
            RemoteTrustState state = repository.Trust(remote) ?? throw new Finding($"{remote} has no trust document: it is believed as its settings say", $"sbox remote trust {remote} FILE begins with one");
            new Speaker(parsed.GetValue(json)).Answer($"{TrustText.Of(state.Document)}\n{state.Path}: {TrustText.Of(remote, state, TimeProvider.System.GetUtcNow())}", writer =>
            {
                TrustText.Write(writer, remote, state);
                writer.WriteString("path", state.Path);
                writer.WriteStartObject("document");
                TrustText.Write(writer, state.Document);
                writer.WriteEndObject();
            });
            return 0;
        });
        return command;
    }

    private static Command Trust()
    {
        Argument<string> name = Name();
        var file = new Argument<string?>("FILE") { Description = "The trust document, as 1.toml of the repository's directory trust; its signatures are read from 1.sig beside it", Arity = ArgumentArity.ZeroOrOne };
        var forget = new Option<bool>("--forget") { Description = "Believe the remote as its settings alone say, from now on" };
        var older = new Option<bool>("--older") { Description = "Go back to an older document than the one that is believed" };
        (Option<string?> repo, Option<string> sysroot, Option<bool> yes, Option<bool> json) = (Repo(), SharedOptions.Sysroot(), Confirmation.Yes(), SharedOptions.Json());
        Command command = new DocumentedCommand("trust", "Believe a remote by a trust document from now on")
        {
            Details =
            [
                "The document is shown, and you are asked: compare the fingerprints with those that its owners tell you, not by the way that the file came. After that, each pull and upgrade takes what is signed as the document says, "
                + "and goes on to newer documents by itself. What the remote's settings ask for is asked for as well.",
                "An image can bring the first document: /usr/lib/sbox/trust/NAME.toml in the tree. It counts until the first newer one is taken, or one is given here.",
            ],
            Examples = [new Example("Begin with a document that was fetched", "curl -O https://example.org/boxes/trust/1.toml -O https://example.org/boxes/trust/1.sig && sudo sbox remote trust origin 1.toml")],
        }.With(name, file, forget, older, repo, sysroot, yes, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Box? box = parsed.GetValue(repo) is null ? Box.ToWrite(parsed.GetValue(sysroot)!) : null;
            using Repository? own = box is null ? Repository.Open(parsed.GetValue(repo)!) : null;
            Repository repository = own ?? box!.Sysroot.Repository;
            string remote = Known(repository, parsed.GetValue(name)!);
            if (parsed.GetValue(forget))
            {
                Confirmation.Ask("forget", parsed.GetValue(yes));
                bool had = repository.EndTrust(remote);
                speaker.Answer($"{remote} is believed {(repository.Trust(remote) is { } brought ? $"by {TrustText.Name(brought.Document)} in {brought.Path}" : "as its settings say")} from now on", writer => writer.WriteBoolean("forgotten", had));
                return 0;
            }

            string path = parsed.GetValue(file) ?? throw new Finding("no trust document was named", $"sbox remote trust {remote} FILE");
            (TrustDocument document, byte[] bytes) = Read(path, speaker);
            speaker.Note(TrustText.Of(document));
            if (Current(repository, remote) is { } now)
                RequireNewer(remote, now.Document, document, parsed.GetValue(older), speaker);
            Confirmation.Ask("trust", parsed.GetValue(yes));
            repository.BeginTrust(remote, bytes);
            speaker.Answer($"{remote} is believed by {TrustText.Name(document)} from now on", writer =>
            {
                writer.WriteString("remote", remote);
                TrustText.Write(writer, document);
            });
            return 0;
        });
        return command;
    }

    // What cannot be read of one remote hinders nobody from seeing the others.
    private static (RemoteTrustState? State, string? Trouble) Believed(Repository repository, string remote)
    {
        try
        {
            return (repository.Trust(remote), null);
        }
        catch (Exception damaged) when (damaged is TrustException or IOException or UnauthorizedAccessException)
        {
            return (null, damaged.Message);
        }
    }

    // Whatever is kept and cannot be read is what this command mends.
    private static RemoteTrustState? Current(Repository repository, string remote)
    {
        try
        {
            return repository.Trust(remote);
        }
        catch (Exception damaged) when (damaged is TrustException { Problem: TrustProblem.Malformed } or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static void RequireNewer(string remote, TrustDocument now, TrustDocument document, bool older, Speaker speaker)
    {
        if (document.Repository == now.Repository && document.Version < now.Version && !older)
            throw new Finding($"{remote} is believed by {TrustText.Name(now)}, and that is an older one: who was believed then may be believed no longer", "Ask its owners for the newest one; --older goes back all the same");
        speaker.Note($"It takes the place of {TrustText.Name(now)}, by which {remote} is believed now.");
    }

    private static (TrustDocument Document, byte[] Bytes) Read(string path, Speaker speaker)
    {
        byte[] bytes = RepositoryCommand.ReadFile(path);
        var document = TrustDocument.Parse(path, bytes);
        string beside = Path.ChangeExtension(path, ".sig");
        if (File.Exists(beside))
            document.Require(path, document.Document, bytes, TrustDocument.SignaturesIn(RepositoryCommand.ReadFile(beside)));
        else
            speaker.Note($"{beside} is not there: that its owners have signed it is not known.");
        return (document, bytes);
    }

    private static string PathOf(ParseResult parsed, Option<string?> repo, Option<string> sysroot)
    {
        if (parsed.GetValue(repo) is { } named)
            return named;
        Box.RequireSysroot(parsed.GetValue(sysroot)!);
        return $"{parsed.GetValue(sysroot)}/ostree/repo";
    }

    private static string Known(Repository repository, string remote) => repository.RemoteNames().Contains(remote) ? remote : throw new RemoteNotFoundException(repository.Path, remote);
}
