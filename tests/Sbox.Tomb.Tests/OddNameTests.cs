using System.Text.Json;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Tomb.Tests;

/// <summary>Names with bytes that are no text, and with what a terminal would obey: shown, found and brought back.</summary>
public sealed class OddNameTests : IAsyncLifetime
{
    // A shell's printf, since no argument of a child that .NET starts can hold such bytes.
    private const string NoText = "na\\377me", Commands = "a\\nb\\033[31mc";
    private readonly Place place = new();

    public async ValueTask InitializeAsync()
    {
        Directory.CreateDirectory(place["home"]);
        Sh($"cd \"$1\"; printf 1 > \"$(printf '{NoText}')\"; printf 2 > \"$(printf '{Commands}')\"; printf 3 > plain; printf 4 > 'in 😀 between'; printf 5 > 😀; ln -s \"$(printf '{NoText}')\" link", place["home"]);
        await using TombRepository tomb = await Place.Create(place.Backend());
        await Saving.Save(tomb, place["home"]);
        await Saving.Save(tomb, place["home/plain"]);
    }

    public ValueTask DisposeAsync()
    {
        place.Dispose();
        return ValueTask.CompletedTask;
    }

    [Fact]
    public void In_a_pipe_names_are_as_they_are_and_with_null_nobody_takes_one_for_two()
    {
        string listed = Sh("$T find -0 '*a*e' '*c' link | base64 -w0");
        string[] lines = [.. FileName.FromBytes(Convert.FromBase64String(listed)).Split('\0', StringSplitOptions.RemoveEmptyEntries).Where(static line => !line.Contains("plain", StringComparison.Ordinal))];
        Assert.Equal(3, lines.Length);
        Assert.EndsWith($"{place["home"]}/a\nb\e[31mc", lines[0], StringComparison.Ordinal);
        Assert.EndsWith($"{place["home"]}/link -> na\uDCFFme", lines[1], StringComparison.Ordinal);
        Assert.EndsWith($"{place["home"]}/na\uDCFFme", lines[2], StringComparison.Ordinal);
    }

    [Fact]
    public void Letters_that_take_two_of_dotnets_are_shown_wherever_they_stand()
    {
        string listed = Sh("$T ls $(first)");
        Assert.Contains("/in 😀 between\n", listed, StringComparison.Ordinal);
        Assert.Contains("/😀\n", listed, StringComparison.Ordinal);
        Assert.Contains(Sh("$T --json ls $(first)").Split('\n', StringSplitOptions.RemoveEmptyEntries), static line => JsonDocument.Parse(line).RootElement.GetProperty("path").GetString()!.EndsWith("/in 😀 between", StringComparison.Ordinal));
        Assert.Contains("'in 😀 there'", Sh("$T find 'in 😀 there' 2>&1 || :"), StringComparison.Ordinal);
    }

    [Fact]
    public void With_json_the_bytes_of_what_is_no_text_are_beside_it()
    {
        var seen = new Dictionary<string, JsonElement>();
        foreach (string line in Sh("$T --json ls $(first)").Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            JsonElement entry = JsonDocument.Parse(line).RootElement;
            seen[Path.GetFileName(entry.GetProperty("path").GetString()!)] = entry;
        }

        Assert.Equal($"{place["home"]}/na\uDCFFme", FileName.FromBytes(seen["na\uFFFDme"].GetProperty("path_raw").GetBytesFromBase64()));
        Assert.Equal("na\uDCFFme", FileName.FromBytes(seen["link"].GetProperty("target_raw").GetBytesFromBase64()));
        Assert.True(seen.ContainsKey("a\nb\e[31mc"));
        Assert.False(seen["plain"].TryGetProperty("path_raw", out _));
    }

    [Fact]
    public void A_name_that_is_no_text_is_found_listed_and_restored_by_its_bytes()
    {
        Assert.Equal("1", Sh($"$T find \"$(printf '{NoText}')\" | wc -l").Trim());
        Sh($"id=$(first); $T ls $id \"$1/$(printf '{NoText}')\" && $T restore $id --to \"$2\" --path \"$1/$(printf '{NoText}')\"", place["home"], place["out"]);
        Assert.Equal("1", Sh($"cat \"$1/$(printf '{NoText}')\"", place["out"]));
        Sh($"$T save \"$1/$(printf '{NoText}')\" 2>&1; $T restore latest --to \"$2\"", place["home"], place["out2"]);
        Assert.Equal("1", Sh($"cat \"$2$1/$(printf '{NoText}')\"", place["home"], place["out2"]));
        string said = Sh($"$T find \"$(printf 'no\\377')\" 2>&1 | base64 -w0; $T --json find \"$(printf 'no\\377')\" 2>&1 | base64 -w0 >&2");
        Assert.Contains("'no\uDCFF'", FileName.FromBytes(Convert.FromBase64String(said)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_terminal_is_sent_one_line_for_a_name_and_nothing_that_it_obeys()
    {
        foreach (string command in (string[])["find '*c' '*a*e'", "ls $(first)", "diff $(first) $($T snapshots | tail -n1 | cut -c1-8)"])
        {
            File.WriteAllText(place["typed"], $"{Head}$T {command}\n");
            string drawn = Judge.OnPath("script").Ask(place.Path, null, ["-qc", $"sh {place["typed"]}", "/dev/null"]).Output;
            Assert.Contains("/a?b?[31mc\r\n", drawn, StringComparison.Ordinal);
            Assert.DoesNotContain("\e[31m", drawn, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void What_a_restore_keeps_as_it_is_has_its_bytes_on_stderr_too()
    {
        string said = Sh($"id=$(first); mkdir -p \"$2\"; printf other > \"$2/$(printf '{NoText}')\"; $T restore $id --to \"$2\" --path \"$1\" 2>&1 | base64 -w0", place["home"], place["kept"]);
        Assert.Contains("kept as it is: ", FileName.FromBytes(Convert.FromBase64String(said)), StringComparison.Ordinal);
        Assert.Contains("na\uDCFFme", FileName.FromBytes(Convert.FromBase64String(said)), StringComparison.Ordinal);
    }

    private string Head => $$"""
        export XDG_STATE_HOME={{place["state"]}} XDG_CACHE_HOME={{place["cache"]}} XDG_CONFIG_HOME={{place["config"]}}
        T='{{TestedProgram.Sbox}} tomb --tomb {{place.TombPath}} --password-file {{place.PasswordFile}}'
        first() { $T snapshots | head -n1 | cut -c1-8; }

        """;

    private string Sh(string script, params string[] arguments) => Judge.OnPath("sh").Run(["-c", Head + script, "sh", .. arguments]);
}
