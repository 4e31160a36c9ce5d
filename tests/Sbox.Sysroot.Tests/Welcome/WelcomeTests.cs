using System.Text;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>What a new box's owner may answer, and what becomes of it.</summary>
public sealed class WelcomeTests : IDisposable
{
    private readonly TempDir directory = new();

    public void Dispose() => directory.Dispose();

    [Fact]
    public void A_file_of_answers_says_what_is_done_and_an_empty_one_that_nothing_is()
    {
        using WelcomeAnswers answers = Read("keyboard = \"de nodeadkeys\"\nuser = \"ann\"\npassword = \"correct horse\"\nsudo = false\ntomb = \"rest:https://host/ann\"\ntomb-is-new = true\n");
        Assert.Equal(("de nodeadkeys", "ann", "correct horse", false, "rest:https://host/ann", true), (answers.Keyboard, answers.User, Text(answers.Password), answers.Sudo, answers.Tomb, answers.TombIsNew));
        Assert.Equal(new WelcomeAnswers(), Read(""));
        Assert.Null(WelcomeAnswers.Read($"{directory.Path}/none.toml"));
    }

    [Theory]
    [InlineData(@"password = ""a \""quoted\"" \\ # sign"" # a remark", @"a ""quoted"" \ # sign")]
    [InlineData(@"password='C:\new'", @"C:\new")]
    [InlineData(@"  password  =	""Zo\u00eb \U0001F511""", "Zoë 🔑")]
    [InlineData("password = \"***1\"", "***1")]
    [InlineData("password = \"hush\"\r", "hush")]
    public void A_password_is_taken_as_toml_has_it_and_is_in_no_string(string line, string password)
    {
        using WelcomeAnswers answers = Read($"user = \"ann\"\n{line}\nfull-name = \"***0\"\n");
        Assert.Equal((password, "***0"), (Text(answers.Password), answers.FullName));
        using SecretLines lines = SecretLines.Read($"{directory.Path}/welcome.toml", "password");
        Assert.DoesNotContain(line.Split('=')[1].Trim().Trim('"', '\''), lines.Text.Replace("***0", "", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.DoesNotContain(password, answers.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Passwords_are_gone_when_the_answers_are()
    {
        WelcomeAnswers answers = Read("user = \"ann\"\npassword = \"p\"\nwifi = \"home\"\nwifi-password = \"secret\"\n");
        Assert.Equal("secret", Text(answers.WifiPassword));
        answers.Dispose();
        Assert.Throws<ObjectDisposedException>(() => answers.Password!.Span.Length);
        Assert.Throws<ObjectDisposedException>(() => answers.WifiPassword!.Span.Length);
    }

    [Fact]
    public async Task A_network_that_is_not_there_yet_is_waited_for_and_not_for_ever()
    {
        int looks = 0;
        Assert.True(await NetworkLook.WaitForConnection(TimeSpan.FromMinutes(5), () => ++looks == 3, TestContext.Current.CancellationToken));
        Assert.Equal(3, looks);
        Assert.False(await NetworkLook.WaitForConnection(TimeSpan.Zero, static () => false, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void The_first_file_that_is_there_answers_for_all()
    {
        File.WriteAllText($"{directory.Path}/a", "keyboard = \"fr\"\n");
        File.WriteAllText($"{directory.Path}/b", "keyboard = \"de\"\nuser = \"ann\"\npassword = \"p\"\n");
        WelcomeAnswers answers = WelcomeAnswers.Read($"{directory.Path}/none", $"{directory.Path}/a", $"{directory.Path}/b")!;
        Assert.Equal(("fr", null), (answers.Keyboard, answers.User));
    }

    [Theory]
    [InlineData("user = \"Ann\"\npassword = \"p\"", ":1: 'Ann': a login name begins with a small letter")]
    [InlineData("user = \"ann\"", ":1: the user needs a password")]
    [InlineData("keyboard = \"de\"\nuser = \"ann\"\npassword = \"p\"\npassword-hash = \"$6$\"", ":2: password and password-hash")]
    [InlineData("tomb = \"rest:x\"", "user is missing")]
    [InlineData("user = \"ann\"\npassword-hash = \"$6$\"\ntomb = \"rest:x\"\ntomb-is-new = true", "not with its hash")]
    [InlineData("user = \"ann\"\npassword = \"a\\nroot:b\"", ":2: password is one line")]
    [InlineData("\ntomb = \"ftp:x\"", ":2: 'ftp:x' is no address of a tomb")]
    [InlineData("user = \"ann\"\npassword = \"\"\"p\"\"\"", ":2: password is one line, in one pair of quotes")]
    [InlineData("user = \"ann\"\npassword = \"\"", ":2: password is empty")]
    [InlineData("user = \"ann\"\npassword = \"a\\qb\"", ":2: ")]
    [InlineData("user = \"ann\"\npassword = \"p\"\npassword = \"q\"", ":3: ")]
    [InlineData("keybord = \"de\"", "'keybord' is not known here; expected keyboard")]
    [InlineData("sudo = \"yes\"", ":1: sudo is true or false")]
    public void What_cannot_be_heeded_is_named_with_its_line(string text, string finding) =>
        Assert.Contains(finding, Assert.Throws<WelcomeAnswersException>(() => Read(text)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("Ann Smith", "ann")]
    [InlineData("Zoë", "")]
    [InlineData("李", "")]
    [InlineData("3PO", "")]
    [InlineData("", "")]
    public void A_login_name_is_suggested_where_one_can_be_made(string fullName, string suggested) => Assert.Equal(suggested, UserName.Suggest(fullName));

    [Theory]
    [InlineData("root:x:0:0::/root:/bin/bash", "root:!:1::::::", false)]
    [InlineData("root:x:0:0::/root:/bin/bash", "root:*:1::::::", false)]
    [InlineData("root:x:0:0::/root:/bin/bash", "root:!$6$abc:1::::::", false)]
    [InlineData("root:x:0:0::/root:/bin/bash", "root:$6$abc:1::::::", true)]
    [InlineData("root:x:0:0::/root:/bin/bash", "root::1::::::", true)]
    [InlineData("ann:x:1000:1000::/home/ann:/bin/bash", "ann:!:1::::::", true)]
    [InlineData("nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin", "nobody:*:1::::::", false)]
    public void A_box_is_new_while_nobody_can_log_in(string passwd, string shadow, bool somebody)
    {
        File.WriteAllText($"{directory.Path}/passwd", passwd + "\n");
        File.WriteAllText($"{directory.Path}/shadow", shadow + "\n");
        Assert.Equal(somebody, UserName.IsAnyoneThere(directory.Path));
    }

    [Fact]
    public void A_layout_is_found_by_its_code_its_language_or_its_country()
    {
        IReadOnlyList<KeyboardLayout> layouts = KeyboardLayout.Parse(Layouts);
        Assert.Equal(5, layouts.Count);
        Assert.Equal(new KeyboardLayout("de", "", "German"), Assert.Single(KeyboardLayout.Find(layouts, "de")));
        Assert.Equal("de nodeadkeys", Assert.Single(KeyboardLayout.Find(layouts, "german no")).Code);
        Assert.Equal(["de", "de nodeadkeys"], KeyboardLayout.Find(layouts, "Ger").Select(static each => each.Code));
        Assert.Equal("us intl", Assert.Single(KeyboardLayout.Find(layouts, "us intl")).Code);
        Assert.Empty(KeyboardLayout.Find(layouts, "klingon"));
        using Dir etc = Dir.Open(directory.Path);
        layouts[^1].Write(etc);
        Assert.Contains("XKBLAYOUT=\"us\"\nXKBVARIANT=\"intl\"\n", File.ReadAllText($"{directory.Path}/default/keyboard"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_users_table_is_added_once_and_others_stay_as_they_are()
    {
        using Dir etc = Dir.Open(directory.Path);
        Directory.CreateDirectory($"{directory.Path}/sbox");
        File.WriteAllText($"{directory.Path}/sbox/tomb.toml", "# mine\n[bob]\ntomb = \"/srv/bob\"");
        Assert.True(TombTable.Add(etc, "ann", "sftp:ann@host:/t"));
        Assert.False(TombTable.Add(etc, "bob", "/elsewhere"));
        Assert.Equal("# mine\n[bob]\ntomb = \"/srv/bob\"\n\n[ann]\ntomb = \"sftp:ann@host:/t\"\n", File.ReadAllText($"{directory.Path}/sbox/tomb.toml"));
        Assert.Throws<ArgumentException>(() => TombTable.Add(etc, "eve", "/x\"\n[root]"));
    }

    [Fact]
    public void The_strongest_of_each_wireless_network_is_listed_as_nmcli_escapes_it()
    {
        IReadOnlyList<WirelessNetwork> networks = NetworkLook.Parse([@"40:WPA2:caf\:e", "70:WPA2:home", "20:WPA2:home", "55::open one", "90:WPA2:", "nonsense"]);
        Assert.Equal([new WirelessNetwork("home", 70, true), new WirelessNetwork("open one", 55, false), new WirelessNetwork("caf:e", 40, true)], networks);
    }

    [Fact]
    public void A_wireless_password_is_in_a_file_that_only_root_reads_and_its_bytes_stay_what_they_are()
    {
        using Dir connections = Dir.Open(directory.Path);
        string id = NetworkLook.WriteConnection(connections, "caf;é", @" back\slash"u8);
        string text = Encoding.UTF8.GetString(connections.ReadAll($"{id}.nmconnection"));
        Assert.Contains("ssid=99;97;102;59;195;169;\n", text, StringComparison.Ordinal);
        Assert.Contains("psk=\\sback\\\\slash\n", text, StringComparison.Ordinal);
        Assert.Equal(0x180u, connections.Stat($"{id}.nmconnection").Permissions);
        Assert.DoesNotContain("wifi-security", Encoding.UTF8.GetString(connections.ReadAll($"{NetworkLook.WriteConnection(connections, "open", [])}.nmconnection")), StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => NetworkLook.WriteConnection(connections, new string('x', 33), []));
    }

    private const string Layouts = "! model\n  pc105           Generic 105-key PC\n\n! layout\n  de              German\n  us              English (US)\n  custom          A user-defined custom Layout\n  fr              French\n\n"
        + "! variant\n  nodeadkeys      de: German (no dead keys)\n  intl            us: English (US, intl., with dead keys)\n\n! option\n  grp             Switching to another layout\n";

    private static string? Text(SecretMemory? secret) => secret is null ? null : Encoding.UTF8.GetString(secret.Span);

    private WelcomeAnswers Read(string text)
    {
        File.WriteAllText($"{directory.Path}/welcome.toml", text);
        return WelcomeAnswers.Read($"{directory.Path}/welcome.toml")!;
    }
}
