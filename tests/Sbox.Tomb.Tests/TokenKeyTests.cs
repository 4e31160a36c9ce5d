using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Tests;

/// <summary>A FIDO2 token beside the password: the program and real libfido2, with a token that this test plays.</summary>
public sealed class TokenKeyTests
{
    [Fact]
    public void A_token_opens_the_tomb_with_a_touch_and_its_file_opens_nothing_without_it()
    {
        using var place = new Place();
        using var token = new VirtualToken();
        SboxProgram.Tomb(place, "create");
        SboxProgram.Tomb(place, "key", "add", "--new-fido2", place["token key"], "--fido2-device", token.Path);
        Assert.Equal(2, token.Touches);
        string[] keys = [.. Ours(place, 0, token, "key", "list").Split('\n').Where(static line => line.Contains('@', StringComparison.Ordinal))];
        Assert.Equal([true, false], keys.Select(static line => line.StartsWith('*')).OrderDescending()); // the one in use, and the password's
        string id = keys.Single(static line => line.StartsWith('*')).Split(' ')[1];
        Assert.Equal(3, token.Touches);

        // By the settings file alone, as it is used every day.
        File.WriteAllText(place["settings"], $"tomb = \"{place.TombPath}\"\nfido2-file = \"{place["token key"]}\"\n");
        Assert.Equal(0, SboxProgram.Run(place, "tomb", "--config", place["settings"], "--fido2-device", token.Path, "snapshots").ExitCode);

        using (var other = new VirtualToken())
        {
            Assert.Contains("the token that belongs to this file", Ours(place, 1, other, "snapshots"), StringComparison.Ordinal);
            Assert.Equal(0, other.Touches);
        }

        // The password is still one, for restic too; and the token's key can be taken away.
        place.Restic("check");
        Assert.Contains(id, place.Restic("key", "list"), StringComparison.Ordinal);
        SboxProgram.Tomb(place, "key", "remove", id);
        Assert.Contains("wrong password", Ours(place, 1, token, "snapshots"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_token_with_a_PIN_wants_it_each_time()
    {
        using var place = new Place();
        using var token = new VirtualToken("1234");
        File.WriteAllText(place["pin"], "1234\n");
        File.WriteAllText(place["wrong"], "4321\n");
        SboxProgram.Tomb(place, "create");
        (int code, _, string error) = SboxProgram.Run(
            place, "tomb", "--tomb", place.TombPath, "--password-file", place.PasswordFile, "key", "add", "--new-fido2", place["token key"], "--fido2-device", token.Path, "--fido2-pin-file", place["wrong"]);
        Assert.Equal(1, code);
        Assert.Contains("PIN", error, StringComparison.Ordinal);
        Assert.False(File.Exists(place["token key"]));
        SboxProgram.Tomb(place, "key", "add", "--new-fido2", place["token key"], "--fido2-device", token.Path, "--fido2-pin-file", place["pin"]);
        Ours(place, 0, token, "snapshots", "--fido2-pin-file", place["pin"]);
        Assert.Contains("counts wrong PINs", Ours(place, 1, token, "snapshots", "--fido2-pin-file", place["wrong"]), StringComparison.Ordinal);
        Assert.Contains("no terminal to ask for the token's PIN", Ours(place, 1, token, "snapshots"), StringComparison.Ordinal);
    }

    [Fact]
    public void Where_no_token_is_that_is_said()
    {
        using var place = new Place();
        File.WriteAllBytes(place["token key"], new TokenKey([1, 2, 3], new byte[32], false).ToBytes());
        (int code, _, string error) = SboxProgram.Run(place, "tomb", "--tomb", place.TombPath, "--fido2", place["token key"], "--fido2-device", "/dev/null", "snapshots");
        Assert.Equal(1, code);
        Assert.Contains("/dev/null", error, StringComparison.Ordinal);
        Assert.Throws<Fido2Exception>(() => Fido2Token.Open("/dev/hidraw-none"));
    }

    [Fact]
    public void A_key_file_comes_back_as_it_was_and_what_is_none_is_refused()
    {
        var key = new TokenKey([1, 2, 3], [.. Enumerable.Range(0, 32).Select(static at => (byte)at)], true);
        TokenKey read = TokenKey.Parse(key.ToBytes());
        Assert.Equal((Convert.ToHexString(key.Credential), Convert.ToHexString(key.Salt), true), (Convert.ToHexString(read.Credential), Convert.ToHexString(read.Salt), read.WithPin));
        string text = Encoding.UTF8.GetString(key.ToBytes());
        foreach (string wrong in (string[])["", "{}", "[]", text[..^4], text.Replace("sbox.tomb", "other", StringComparison.Ordinal), text.Replace("AQID", "", StringComparison.Ordinal), text.Replace("true", "1", StringComparison.Ordinal), text + text])
            Assert.Throws<MalformedException>(() => TokenKey.Parse(Encoding.UTF8.GetBytes(wrong)));
    }

    // Opened by the token: all that was said.
    private static string Ours(Place place, int expected, VirtualToken token, params string[] words)
    {
        (int code, string output, string error) = SboxProgram.Run(place, ["tomb", "--tomb", place.TombPath, "--fido2", place["token key"], "--fido2-device", token.Path, .. words]);
        Assert.True(code == expected, $"{code}\n{output}{error}");
        return output + error;
    }
}
