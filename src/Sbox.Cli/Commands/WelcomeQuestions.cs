using System.Text;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>The questions of <c>sbox welcome</c>, one after the other, and back where somebody asks for it: what was answered stands in brackets then.</summary>
/// <param name="interview">Where they are asked.</param>
/// <param name="work">Does what the answers say.</param>
internal sealed class WelcomeQuestions(Interview interview, IWelcomeWork work) : IDisposable
{
    private const int Steps = 4, Shown = 14, FirstOfUser = 5;

    private string keyboard = "us", fullName = "";
    private string? address, name;
    private int kind; // of tomb: none, one that is there, a new one
    private bool sudo = true;
    private SecretMemory? tombPassword, ownPassword;
    private int headed;

    private enum Outcome
    {
        Answered,
        /// <summary>There was nothing to ask: on to the next, in whichever direction.</summary>
        Passed,
        /// <summary>The user is made, or shall not be.</summary>
        Over,
        /// <summary>It did not work as answered: the question before, again.</summary>
        Again,
        /// <summary>Not as it was summed up: the questions about the user, again.</summary>
        Anew,
    }

    /// <summary>Asks them all.</summary>
    public async Task Ask()
    {
        interview.Title("Welcome to your box", $"Four questions, and it is yours. Enter takes what stands in brackets, a dash (-) leaves a question out, {Interview.Back} goes back to the one before.\n" + work.Kind);
        Func<Task<Outcome>>[] questions = [Now(Keyboard), Now(Network), Now(Tomb), Now(TombAddress), TombPassword, Now(FullName), Now(LoginName), Now(Password), Now(Sudo), Confirm];
        bool forward = true;
        for (int at = 0; at < questions.Length;)
        {
            Outcome outcome;
            try
            {
                outcome = await questions[at]();
                forward = outcome == Outcome.Passed ? forward : outcome == Outcome.Answered;
            }
            catch (WentBackException) when (at == 0)
            {
                interview.Warn("This is the first question.");
                continue;
            }
            catch (WentBackException)
            {
                outcome = Outcome.Again;
                forward = false;
            }

            if (outcome == Outcome.Over)
                return;
            at = outcome == Outcome.Anew ? FirstOfUser : forward ? at + 1 : at - 1;
        }
    }

    /// <summary>Zeroes the passwords.</summary>
    public void Dispose()
    {
        tombPassword?.Dispose();
        ownPassword?.Dispose();
    }

    private static Func<Task<Outcome>> Now(Func<Outcome> question) => () => Task.FromResult(question());

    private void Heading(int step, string title)
    {
        if (headed != step)
            interview.Step(step, Steps, title);
        headed = step;
    }

    private Outcome Keyboard()
    {
        Heading(1, "Keyboard");
        IReadOnlyList<KeyboardLayout> layouts = work.Layouts;
        if (layouts.Count == 0)
        {
            interview.Say("This system has no list of layouts (packages xkb-data and console-setup): it stays as it is.");
            return Outcome.Answered; // also on the way back: nothing lies before it
        }

        interview.Say("A language, a country or a code: german, \"french canada\", us intl.");
        while (interview.Ask("Your keyboard", keyboard) is { } typed)
        {
            IReadOnlyList<KeyboardLayout> found = KeyboardLayout.Find(layouts, typed);
            if (found.Count == 0)
            {
                interview.Warn($"No layout has '{typed}' in its name.");
                continue;
            }

            if (Chosen(found) is not { } chosen)
                continue;
            work.Use(chosen);
            keyboard = chosen.Code;
            interview.Say($"{chosen.Title} it is.");
            if (interview.Ask("Try some keys; Enter goes on, \"no\" chooses anew", "") is not { } tried || !tried.Equals("no", StringComparison.OrdinalIgnoreCase))
                return Outcome.Answered;
        }

        return Outcome.Answered;
    }

    private KeyboardLayout? Chosen(IReadOnlyList<KeyboardLayout> found)
    {
        if (found is [var only])
            return only;
        if (found.Count > Shown)
            interview.Say($"{found.Count} layouts; the first {Shown} of them, more words make it fewer:");
        return interview.Choose([.. found.Take(Shown).Select(static each => $"{each.Title} ({each.Code})"), "another one"], 0) is { } index && index < Math.Min(Shown, found.Count) ? found[index] : null;
    }

    private Outcome Network()
    {
        Heading(2, "Network");
        while (true)
        {
            if (work.Connection is { } connection)
            {
                interview.Say($"Connected by {connection.Card}, as {connection.Address}.");
                return Outcome.Passed;
            }

            if (!work.HasWireless || !work.HasNetworkManager)
            {
                if (interview.Ask(work.HasWireless ? "No cable, and nothing here speaks to wireless cards (package network-manager). Enter looks again" : "There is no connection: is a cable in? Enter looks again, - goes on without", "") is null)
                    return Outcome.Answered;
                continue;
            }

            if (!Wireless())
                return Outcome.Answered;
        }
    }

    // Whether to look again.
    private bool Wireless()
    {
        IReadOnlyList<WirelessNetwork> networks;
        try
        {
            networks = work.Scan();
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
        catch (WentBackException)
        {
            // To the list that the network was chosen from.
        }

        return true;
    }

    private Outcome Tomb()
    {
        Heading(3, "Tomb");
        interview.Say("A tomb keeps your files encrypted somewhere else, and opens when you log in, on any box.");
        kind = interview.Choose(["no tomb: files stay on this machine", "I have one", "make a new one"], kind) ?? 0;
        if (kind == 0)
            address = null;
        return Outcome.Answered;
    }

    private Outcome TombAddress()
    {
        if (kind == 0)
            return Outcome.Passed;
        Heading(3, "Tomb");
        address = interview.Ask("Where, as sftp:me@host:/path, rest:https://host/me, s3:... or /a/directory", address, TombTable.Fault);
        if (address is null)
            kind = 0;
        return Outcome.Answered;
    }

    private async Task<Outcome> TombPassword()
    {
        if (kind == 0)
        {
            Replace(ref tombPassword, null);
            return Outcome.Passed;
        }

        Heading(3, "Tomb");
        bool isNew = kind == 2;
        Replace(ref tombPassword, interview.AskSecret(isNew ? "A password for it; you log in with the same" : "Its password; you log in with the same", isNew));
        if (isNew)
            return Outcome.Answered;
        try
        {
            interview.Say("Looking ...");
            await work.Tomb(address!, isNew: false, tombPassword!);
            interview.Say("It opens.");
            return Outcome.Answered;
        }
        catch (Finding fault)
        {
            interview.Warn(fault.Message);
            return Outcome.Again;
        }
    }

    private Outcome FullName()
    {
        Heading(4, "You");
        fullName = interview.Ask("What are you called", fullName, UserName.FaultOfFullName) ?? "";
        return Outcome.Answered;
    }

    private Outcome LoginName()
    {
        Heading(4, "You");
        string? suggested = name ?? (UserName.Suggest(fullName) is { Length: > 0 } first ? first : null);
        name = interview.Ask("Your login name", suggested, typed => UserName.Fault(typed) ?? (work.IsTaken(typed) ? $"'{typed}' is somebody here already." : null));
        if (name is not null)
            return Outcome.Answered;
        interview.Warn("No user is made. Without one nobody can log in; the next boot asks no more: sbox welcome does.");
        return Outcome.Over;
    }

    private Outcome Password()
    {
        Replace(ref ownPassword, null);
        if (tombPassword is not null)
            return Outcome.Passed;
        Heading(4, "You");
        ownPassword = interview.AskSecret("A password", twice: true);
        return Outcome.Answered;
    }

    private Outcome Sudo()
    {
        Heading(4, "You");
        sudo = interview.IsYes("May you become root, with sudo", sudo);
        return Outcome.Answered;
    }

    private async Task<Outcome> Confirm()
    {
        Heading(4, "You");
        interview.Say($"\n{(fullName.Length == 0 ? name : $"{fullName}, as {name}")}{(sudo ? ", may become root" : "")}; {(address is null ? "no tomb" : $"{(kind == 2 ? "a new tomb" : "the tomb")} at {address}")}.");
        if (!interview.IsYes("Is that right", otherwise: true))
            return Outcome.Anew;
        SecretMemory password = tombPassword ?? ownPassword!;
        try
        {
            if (address is not null && kind == 2)
                await work.Tomb(address, isNew: true, password);
            kind = address is null ? 0 : 1; // made: should the user not be, it is there all the same
            work.MakeUser(name!, fullName, sudo, address, stream =>
            {
                stream.Write(Encoding.UTF8.GetBytes($"{name}:"));
                stream.Write(password.Span);
                stream.Write("\n"u8);
            }, isHash: false);
            return Outcome.Over;
        }
        catch (Finding fault)
        {
            interview.Warn($"{fault.Message}");
            if (kind == 2 && interview.IsYes("Go on without a tomb", otherwise: false))
            {
                (kind, address) = (0, null);
                Replace(ref tombPassword, null);
            }

            return Outcome.Anew;
        }
    }

    private static void Replace(ref SecretMemory? secret, SecretMemory? by)
    {
        secret?.Dispose();
        secret = by;
    }
}
