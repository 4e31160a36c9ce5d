using System.Text;
using Sbox.Cli.Commands;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Tests;

/// <summary>A new box's questions, as a person answers them on a console: on, back, and not as they are summed up.</summary>
public sealed class WelcomeQuestionsTests
{
    private readonly StringWriter said = new();
    private readonly Deeds deeds = new();

    [Fact]
    public async Task Whoever_goes_straight_on_has_a_user()
    {
        await Ask("de\n\n" + "1\n" + "Ann Smith\n\n" + "\n" + "yes\n", "secret");
        Assert.Equal(["keyboard de", "user ann 'Ann Smith' sudo  password secret"], deeds.Done);
        Assert.DoesNotContain("secret", said.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Each_question_leads_back_to_the_one_before_and_enter_keeps_what_was_answered()
    {
        // Keyboard; tomb; full name; back over the tomb and the network, which asks nothing, to the keyboard; on by Enter alone.
        await Ask("de\n\n" + "1\n" + "<\n" + "<\n" + "\n\n" + "\n" + "Ann\n\n" + "no\n" + "<\n" + "\n" + "\n", "secret");
        Assert.Equal(["keyboard de", "keyboard de", "user ann 'Ann'  password secret"], deeds.Done);
        Assert.Equal(2, Count("Your keyboard [de]") + Count("Your keyboard [us]"));
        Assert.Equal(1, Count("May you become root, with sudo (yes/no) [no]"));
        Assert.Equal(2, Count("1 of 4  Keyboard"));
        Assert.Contains("< goes back", said.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_password_too_leads_back_and_the_one_before_is_forgotten()
    {
        await Ask("de\n\n" + "3\n/srv/a\n" + "/srv/b\n" + "Ann\n\n\n\n", "<", "secret");
        Assert.Equal(["keyboard de", "new tomb /srv/b secret", "user ann 'Ann' sudo /srv/b password secret"], deeds.Done);
        Assert.Equal(1, Count("[/srv/a]"));
    }

    [Fact]
    public async Task Nothing_lies_before_the_first_question()
    {
        await Ask("<\nde\n\n" + "\n" + "Ann\n-\n");
        Assert.Equal(["keyboard de"], deeds.Done);
        Assert.Equal(1, Count("This is the first question."));
    }

    [Fact]
    public async Task What_is_not_right_is_asked_again_from_the_name_on_and_a_tomb_that_was_made_is_not_made_twice()
    {
        deeds.Refused = "useradd";
        await Ask("de\n\n" + "3\n/srv/a\n" + "Ann\n\n\n" + "no\n" + "Bea\n\n\n" + "\n" + "\n" + "cleo\n" + "\n\n", "secret");
        Assert.Equal(["keyboard de", "new tomb /srv/a secret", "user cleo 'Bea' sudo /srv/a password secret"], deeds.Done);
    }

    [Fact]
    public async Task A_tomb_that_does_not_open_asks_for_its_address_again()
    {
        deeds.Refused = "open";
        await Ask("de\n\n" + "2\n/srv/a\n" + "\n" + "Ann\n\n\n\n", "wrong", "secret");
        Assert.Equal(["keyboard de", "tomb /srv/a secret", "user ann 'Ann' sudo /srv/a password secret"], deeds.Done);
    }

    private async Task Ask(string typed, params string[] secrets)
    {
        var next = new Queue<string>(secrets);
        var interview = new Interview(new StringReader(typed), said, (_, _) => new SecretMemory(Encoding.UTF8.GetBytes(next.Dequeue())), colors: false) { GoesBack = true };
        using var questions = new WelcomeQuestions(interview, deeds);
        await questions.Ask();
        Assert.Empty(next);
    }

    private int Count(string text) => said.ToString().Split(text).Length - 1;

    private sealed class Deeds : IWelcomeWork
    {
        public List<string> Done { get; } = [];

        // What is refused, once.
        public string? Refused { get; set; }

        public string Kind => "";

        public IReadOnlyList<KeyboardLayout> Layouts => [new("us", "", "English"), new("de", "", "German")];

        public (string Card, string Address)? Connection => ("eth0", "10.0.2.15");

        public bool HasWireless => false;

        public bool HasNetworkManager => false;

        public bool IsTaken(string name) => false;

        public IReadOnlyList<WirelessNetwork> Scan() => [];

        public void Use(KeyboardLayout layout) => Done.Add($"keyboard {layout.Code}");

        public void Connect(string name, ReadOnlySpan<byte> password) => Done.Add($"network {name}");

        public Task Tomb(string address, bool isNew, SecretMemory password)
        {
            Refuse("open");
            Done.Add($"{(isNew ? "new tomb" : "tomb")} {address} {Encoding.UTF8.GetString(password.Span)}");
            return Task.CompletedTask;
        }

        public void MakeUser(string name, string fullName, bool sudo, string? address, Action<Stream> secret, bool isHash)
        {
            Refuse("useradd");
            using var written = new MemoryStream();
            secret(written);
            Assert.StartsWith($"{name}:", Encoding.UTF8.GetString(written.ToArray()), StringComparison.Ordinal);
            Done.Add($"user {name} '{fullName}' {(sudo ? "sudo " : "")}{address} password {Encoding.UTF8.GetString(written.ToArray())[(name.Length + 1)..].TrimEnd('\n')}");
        }

        private void Refuse(string what)
        {
            if (Refused != what)
                return;
            Refused = null;
            throw new Finding($"{what} was refused", "Again");
        }
    }
}
