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
        var generate = new Option<string?>("--generate") { Description = "Make a random key, write it into this new file, and let that open the tomb (--password-file)", HelpName = "FILE" };
        var token = new Option<string?>("--new-fido2") { Description = "Have a FIDO2 token make a key, write what asks for it into this new file, and let both together open the tomb (--fido2)", HelpName = "FILE" };
        var seal = new Option<string?>("--seal") { Description = "Make a random key, seal it to this machine for sbox-tomb@USER.service, and let that open the tomb; needs root and systemd-creds", HelpName = "USER" };
        var with = new Option<string>("--with-key") { Description = "What --seal seals it to: tpm2, host, host+tpm2, or auto (the TPM where there is one)", HelpName = "KEY", DefaultValueFactory = static _ => "auto" };
        return new DocumentedCommand("add", "Let another password, a key file, a FIDO2 token, or this machine's TPM open the tomb too")
        {
            Details =
            [
                "Each is a key of its own: sbox tomb key remove takes it away, and the others stay. A sealed key is /etc/credstore.encrypted/tomb-USER: of use on this machine alone, to whoever is root there.",
                "A FIDO2 token needs libfido2 (apt install libfido2-1), CTAP2's hmac-secret, and a touch each time; its PIN is asked for when it has one. The file that belongs to it is no secret, and opens nothing without the token: "
                + "copy it to where the tomb shall be opened. A token that is lost takes its key along: keep another way in.",
            ],
            Examples =
            [
                new Example("A key file on a stick", "sbox tomb key add --generate /media/stick/tomb.key"),
                new Example("Opened by the FIDO2 token that is plugged in", "sbox tomb key add --new-fido2 ~/.config/sbox/tomb.fido2 && sbox tomb --fido2 ~/.config/sbox/tomb.fido2 snapshots"),
                new Example("Opened at boot by the TPM", "sbox tomb --tomb @alice key add --seal alice --with-key tpm2"),
            ],
        }.With(file, generate, token, seal, with).OnTomb(async (parsed, session, cancel) =>
        {
            if (parsed.GetValue(token) is { } asks)
            {
                (SecretMemory made, string named) = TokenPassword.Of(parsed, session.Speaker).Enrol(asks);
                using (made)
                    await Add(session, made, named, cancel);
                session.Speaker.Note($"The token opens the tomb with {named}");
                return 0;
            }

            if (parsed.GetValue(generate) is null && parsed.GetValue(seal) is null)
            {
                using SecretMemory password = Read(parsed.GetValue(file));
                Say(session, await session.Repository.AddKey(password, TimeProvider.System, cancel), "added");
                return 0;
            }

            using SecretMemory random = RandomKey.Make();
            string where = parsed.GetValue(generate) is { } path ? RandomKey.Write(random, path) : RandomKey.Seal(random, parsed.GetValue(seal)!, parsed.GetValue(with)!);
            await Add(session, random, where, cancel);
            session.Speaker.Note($"The key is in {where}");
            return 0;
        });
    }

    // The file of a key that could not be added opens nothing.
    private static async Task Add(TombSession session, SecretMemory key, string file, CancellationToken cancel)
    {
        try
        {
            Say(session, await session.Repository.AddKey(key, TimeProvider.System, cancel), "added");
        }
        catch
        {
            File.Delete(file);
            throw;
        }
    }

    private static Command List() => new DocumentedCommand("list", "List the keys; * marks the one in use, ! one that is damaged").OnTomb(static async (_, session, cancel) =>
    {
        var damaged = new List<DamagedFile>();
        foreach (KeyRecord key in await session.Repository.Keys(damaged, cancel))
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

        foreach (DamagedFile key in damaged)
        {
            session.Speaker.Answer($"! {key.Id.ToString()[..8]}  damaged: {key.What}", writer =>
            {
                writer.WriteString("id", key.Id.ToString());
                writer.WriteString("damaged", key.What);
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
            var damaged = new List<DamagedFile>();
            IEnumerable<Checksum> whole = (await session.Repository.Keys(damaged, cancel)).Select(static key => key.Id);
            Checksum[] fitting = [.. whole.Concat(damaged.Select(static key => key.Id)).Where(key => key.ToString().StartsWith(parsed.GetValue(id)!, StringComparison.Ordinal))];
            if (fitting.Length != 1)
                throw new Finding($"'{parsed.GetValue(id)}': {(fitting.Length == 0 ? "no key begins so" : $"{fitting.Length} keys begin so")}", "The keys that there are: sbox tomb key list");
            if (fitting[0] == session.Repository.OpenedBy?.Id)
                throw new Finding("this is the key in use", "Open the tomb with another password to remove this one, or change it: sbox tomb key passwd");
            await using TombLock held = await TombLock.Take(session.Repository, exclusive: true, TimeProvider.System, cancel);
            await session.Repository.RemoveKey(fitting[0], cancel);
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

    private static void Say(TombSession session, KeyRecord key, string done) => Say(session, key.Id, done);

    private static void Say(TombSession session, Checksum key, string done) => session.Speaker.Answer($"{done} key {key.ToString()[..8]}", writer => writer.WriteString("id", key.ToString()));
}
