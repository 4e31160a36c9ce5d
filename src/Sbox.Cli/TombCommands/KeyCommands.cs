using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb;

namespace Sbox.Cli.TombCommands;

/// <summary><c>sbox tomb key</c>: the passwords that open a tomb.</summary>
internal static class KeyCommands
{
    public static Command Make()
    {
        var key = new DocumentedCommand("key", "The passwords that open the tomb");
        key.Subcommands.Add(Add());
        key.Subcommands.Add(List());
        key.Subcommands.Add(Remove());
        key.Subcommands.Add(ChangePassword());
        return key;
    }

    private static Option<string?> NewPassword() => new("--new-password-file") { Description = "A file whose first line is the new password; without it, the terminal is asked", HelpName = "FILE" };

    private static Command Add()
    {
        Option<string?> file = NewPassword();
        return new DocumentedCommand("add", "Let another password open the tomb too").With(file).OnTomb(async (parsed, session, cancel) =>
        {
            using SecretMemory password = Read(parsed.GetValue(file));
            KeyRecord made = await session.Repository.AddKey(password, TimeProvider.System, cancel);
            Say(session, made, "added");
            return 0;
        });
    }

    private static Command List() => new DocumentedCommand("list", "List the keys; * marks the one in use").OnTomb(static async (_, session, cancel) =>
    {
        foreach (KeyRecord key in await session.Repository.Keys(cancel))
        {
            bool own = key.Id == session.Repository.OpenedBy?.Id;
            session.Speaker.Answer($"{(own ? '*' : ' ')} {key.Id.ToString()[..8]}  {LookingCommands.Time(key.Created)}  {key.Username}@{key.Hostname}", writer =>
            {
                writer.WriteString("id", key.Id.ToString());
                writer.WriteString("created", key.Created.ToString());
                writer.WriteString("username", key.Username);
                writer.WriteString("hostname", key.Hostname);
                writer.WriteBoolean("current", own);
            });
        }

        return 0;
    });

    private static Command Remove()
    {
        var id = new Argument<string>("ID") { Description = "The key, by the beginning of its id" };
        return new DocumentedCommand("remove", "Let a password open the tomb no more")
        {
            Details = ["Whoever knew the password may have kept the master key: a tomb whose password leaked is made anew."],
        }.With(id).OnTomb(async (parsed, session, cancel) =>
        {
            KeyRecord[] fitting = [.. (await session.Repository.Keys(cancel)).Where(key => key.Id.ToString().StartsWith(parsed.GetValue(id)!, StringComparison.Ordinal))];
            if (fitting.Length != 1)
                throw new Finding($"'{parsed.GetValue(id)}': {(fitting.Length == 0 ? "no key begins so" : $"{fitting.Length} keys begin so")}", "The keys that there are: sbox tomb key list");
            if (fitting[0].Id == session.Repository.OpenedBy?.Id)
                throw new Finding("this is the key in use", "Open the tomb with another password to remove this one, or change it: sbox tomb key passwd");
            await using TombLock held = await TombLock.Take(session.Repository, exclusive: true, TimeProvider.System, cancel);
            await session.Repository.RemoveKey(fitting[0].Id, cancel);
            Say(session, fitting[0], "removed");
            return 0;
        });
    }

    private static Command ChangePassword()
    {
        Option<string?> file = NewPassword();
        return new DocumentedCommand("passwd", "Change the password in use").With(file).OnTomb(async (parsed, session, cancel) =>
        {
            using SecretMemory password = Read(parsed.GetValue(file));
            Checksum old = session.Repository.OpenedBy!.Id;
            KeyRecord made = await session.Repository.AddKey(password, TimeProvider.System, cancel);

            // The new one is proven to open the tomb before the old one goes.
            await using (TombRepository again = await TombRepository.Open(session.Backend, password, cancel))
                await again.RemoveKey(old, cancel);
            Say(session, made, "the password is that of");
            return 0;
        });
    }

    private static SecretMemory Read(string? file) => file is null ? SecretPrompt.Ask("New password: ", twice: true) : TombSession.Checked(SecretFile.FirstLine(file), file);

    private static void Say(TombSession session, KeyRecord key, string done) => session.Speaker.Answer($"{done} key {key.Id.ToString()[..8]}", writer => writer.WriteString("id", key.Id.ToString()));
}
