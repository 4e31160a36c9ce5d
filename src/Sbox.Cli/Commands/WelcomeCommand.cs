using System.CommandLine;
using System.Text;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox welcome</c>: the first questions of a new box.</summary>
internal static class WelcomeCommand
{
    private const int NobodyWasAsked = 3;
    private const string Done = "welcomed", State = "/var/lib/sbox";

    public static Command Make()
    {
        var answers = new Option<string?>("--answers") { Description = "Ask nobody: do what this file says", HelpName = "FILE" };
        var atBoot = new Option<bool>("--at-boot") { Description = "Only on a box that has nobody yet, and by a file of answers where there is one (sbox-welcome.service)" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("welcome", "Ask a new box's owner the first questions: keyboard, network, tomb, user")
        {
            Details =
            [
                "A box on which nobody can log in asks on its first console, before anybody is asked to log in: which keyboard, which wireless network (where there is no other), whether there is a tomb or shall be one, and who uses the box. "
                + "Each question can be left out with a dash, and < alone goes back to the one before it, where Enter keeps what was answered; in the place of a password too. The user is made last, after all answers were shown; nothing but the keyboard and the network is changed before.",
                $"A file of answers asks nothing: systemd's credential {WelcomeAnswers.Credential}, /etc/sbox/welcome.toml or /usr/lib/sbox/welcome.toml, the first that is there; an empty one does nothing at all. TOML without tables: keyboard = \"de nodeadkeys\", "
                + "user, full-name, password (one line, in one pair of quotes) or password-hash, sudo (true), tomb, tomb-is-new (false), wifi, wifi-password. A tomb that is elsewhere is given a minute for the network to come. A virtual machine gets the credential from its firmware (SMBIOS type 11, io.systemd.credential.binary:sbox.welcome=BASE64).",
                "In a ghost that was never told whose it is, it asks at each boot: a tomb's address and its password are then all that one has to know.",
                "Layouts are those of xkb-data; console-setup applies them to the console. Wireless networks are NetworkManager's. Where a tree lacks these, the question is left out and that is said. A tomb's password is the login's: that is how it opens by itself.",
            ],
            ExitCodes = [(NobodyWasAsked, "With --at-boot: somebody can log in already, or was asked at an earlier boot.")],
            Examples = [new Example("One user more, with a tomb", "sbox welcome"), new Example("A user without a question", "sbox welcome --answers ann.toml")],
        }.With(answers, atBoot, json);
        command.SetAction(async (parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            if (!Environment.IsPrivilegedProcess)
                throw new Finding("only root may make users", "sudo sbox welcome");
            bool boot = parsed.GetValue(atBoot);
            if (boot && (File.Exists($"{State}/{Done}") || UserName.IsAnyoneThere("/etc")))
            {
                Remember();
                return NobodyWasAsked;
            }

            string? credentials = Environment.GetEnvironmentVariable("CREDENTIALS_DIRECTORY");
            ThisProcess.ForbidDumps();
            using WelcomeAnswers? given = parsed.GetValue(answers) is { } file ? WelcomeAnswers.Read(Existing(file)) : boot ? WelcomeAnswers.Read(WelcomeAnswers.Files(credentials)) : null;
            var work = new WelcomeWork(cancel);
            if (given is not null)
                await work.Do(given);
            else if (Console.IsInputRedirected)
                throw new Finding("there is no terminal to ask on", "Name a file of answers: sbox welcome --answers FILE");
            else
            {
                using var questions = new WelcomeQuestions(Interview.OnConsole(goesBack: true), work);
                await questions.Ask();
            }

            Remember();
            speaker.Answer(work.Summary, work.Write);
            return 0;
        });
        return command;
    }

    private static string Existing(string file) => File.Exists(file) ? file : throw new Finding($"{file}: there is no such file", "sbox welcome without --answers asks");

    // In a ghost it is forgotten with the rest.
    private static void Remember()
    {
        using Dir root = Dir.Open("/");
        root.MakeDirs(State.TrimStart('/'));
        using Dir state = Dir.Open(State);
        if (!state.Exists(Done))
            Durable.Replace(state, Done, Encoding.UTF8.GetBytes("Whoever the box was to be told of was told; sbox welcome asks again when it is typed.\n"));
    }
}
