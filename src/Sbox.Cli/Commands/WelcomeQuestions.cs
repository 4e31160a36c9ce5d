using System.Text;
using Sbox.Boot;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>The questions of <c>sbox welcome</c>.</summary>
/// <param name="interview">Where they are asked.</param>
/// <param name="work">Does what the answers say.</param>
internal sealed class WelcomeQuestions(Interview interview, WelcomeWork work)
{
    private const int Questions = 4, Shown = 14;

    /// <summary>Asks them all.</summary>
    public async Task Ask()
    {
        interview.Title("Welcome to your box", "Four questions, and it is yours. Enter takes what stands in brackets, a dash (-) leaves a question out.\n" + Kind());
        Keyboard();
        Network();
        (string? tomb, bool isNew, SecretMemory? password) = await Tomb();
        using (password)
            await User(tomb, isNew, password);
    }

    private static string Kind() => RootConfig.IsGhost(KernelArguments.Parse(File.ReadAllText("/proc/cmdline")))
        ? "This boot is a ghost: what you answer is forgotten when it is switched off." : "What you answer stays on this disk.";

    private void Keyboard()
    {
        interview.Step(Questions, "Keyboard");
        IReadOnlyList<KeyboardLayout> layouts = WelcomeWork.Layouts();
        if (layouts.Count == 0)
        {
            interview.Say("This system has no list of layouts (packages xkb-data and console-setup): it stays as it is.");
            return;
        }

        interview.Say("A language, a country or a code: german, \"french canada\", us intl.");
        while (interview.Ask("Your keyboard", "us") is { } typed)
        {
            IReadOnlyList<KeyboardLayout> found = KeyboardLayout.Find(layouts, typed);
            if (found.Count == 0)
            {
                interview.Warn($"No layout has '{typed}' in its name.");
                continue;
            }

            if (found.Count > Shown)
                interview.Say($"{found.Count} layouts; the first {Shown} of them, more words make it fewer:");
            KeyboardLayout? chosen = found is [var only] ? only
                : interview.Choose([.. found.Take(Shown).Select(static each => $"{each.Title} ({each.Code})"), "another one"], 0) is { } index && index < Math.Min(Shown, found.Count) ? found[index] : null;
            if (chosen is null)
                continue;
            work.Use(chosen);
            interview.Say($"{chosen.Title} it is.");
            if (interview.Ask("Try some keys; Enter goes on, \"no\" chooses anew", "") is not { } tried || !tried.Equals("no", StringComparison.OrdinalIgnoreCase))
                return;
        }
    }

    private void Network()
    {
        interview.Step(Questions, "Network");
        while (true)
        {
            if (NetworkLook.Connection() is { } connection)
            {
                interview.Say($"Connected by {connection.Card}, as {connection.Address}.");
                return;
            }

            if (!NetworkLook.HasWireless() || !File.Exists("/usr/bin/nmcli"))
            {
                if (interview.Ask(NetworkLook.HasWireless() ? "No cable, and nothing here speaks to wireless cards (package network-manager). Enter looks again" : "There is no connection: is a cable in? Enter looks again, - goes on without", "") is null)
                    return;
                continue;
            }

            if (!Wireless())
                return;
        }
    }

    // Whether to look again.
    private bool Wireless()
    {
        IReadOnlyList<WirelessNetwork> networks;
        try
        {
            networks = NetworkLook.Scan(work.Cancel);
        }
        catch (ChildFailedException failure)
        {
            interview.Warn(failure.Message);
            networks = [];
        }

        WirelessNetwork[] shown = [.. networks.Take(Shown)];
        if (interview.Choose([.. shown.Select(static each => $"{each.Name}  {each.Signal} %{(each.IsSecured ? "" : ", open to all")}"), "look again"], 0) is not { } index)
            return false;
        if (index >= shown.Length)
            return true;
        try
        {
            using SecretMemory? password = shown[index].IsSecured ? interview.AskSecret("Its password", twice: false) : null;
            interview.Say("Connecting ...");
            work.Connect(shown[index].Name, password is null ? [] : password.Span);
        }
        catch (Finding fault)
        {
            interview.Warn(fault.Message);
        }

        return true;
    }

    private async Task<(string? Address, bool IsNew, SecretMemory? Password)> Tomb()
    {
        interview.Step(Questions, "Tomb");
        interview.Say("A tomb keeps your files encrypted somewhere else, and opens when you log in, on any box.");
        int? choice = interview.Choose(["no tomb: files stay on this machine", "I have one", "make a new one"], 0);
        if (choice is null or 0)
            return (null, false, null);
        bool isNew = choice == 2;
        while (interview.Ask("Where, as sftp:me@host:/path, rest:https://host/me, s3:... or /a/directory", null, TombTable.Fault) is { } address)
        {
            SecretMemory password = interview.AskSecret(isNew ? "A password for it; you log in with the same" : "Its password; you log in with the same", isNew);
            try
            {
                if (!isNew)
                {
                    interview.Say("Looking ...");
                    await work.Tomb(address, isNew: false, password);
                    interview.Say("It opens.");
                }

                return (address, isNew, password);
            }
            catch (Finding fault)
            {
                password.Dispose();
                interview.Warn(fault.Message);
            }
        }

        return (null, false, null);
    }

    private async Task User(string? tomb, bool isNew, SecretMemory? known)
    {
        interview.Step(Questions, "You");
        while (true)
        {
            string? fullName = interview.Ask("What are you called", "", UserName.FaultOfFullName);
            string? name = interview.Ask("Your login name", fullName is null ? null : UserName.Suggest(fullName) is { Length: > 0 } suggested ? suggested : null,
                static typed => UserName.Fault(typed) ?? (UserName.IsTaken("/etc", typed) ? $"'{typed}' is somebody here already." : null));
            if (name is null)
            {
                interview.Warn("No user is made. Without one nobody can log in; the next boot asks no more: sbox welcome does.");
                return;
            }

            using SecretMemory? own = known is null ? interview.AskSecret("A password", twice: true) : null;
            bool sudo = interview.IsYes("May you become root, with sudo", otherwise: true);
            interview.Say($"\n{(string.IsNullOrEmpty(fullName) ? name : $"{fullName}, as {name}")}{(sudo ? ", may become root" : "")}; {(tomb is null ? "no tomb" : $"{(isNew ? "a new tomb" : "the tomb")} at {tomb}")}.");
            if (!interview.IsYes("Is that right", otherwise: true))
                continue;
            SecretMemory password = own ?? known!;
            try
            {
                if (tomb is not null && isNew)
                    await work.Tomb(tomb, isNew: true, password);
                work.MakeUser(name, fullName ?? "", sudo, tomb, stream =>
                {
                    stream.Write(Encoding.UTF8.GetBytes($"{name}:"));
                    stream.Write(password.Span);
                    stream.Write("\n"u8);
                }, isHash: false);
                return;
            }
            catch (Finding fault)
            {
                interview.Warn($"{fault.Message}");
                if (tomb is not null && isNew && interview.IsYes("Go on without a tomb", otherwise: false))
                    (tomb, isNew) = (null, false);
            }
        }
    }
}
