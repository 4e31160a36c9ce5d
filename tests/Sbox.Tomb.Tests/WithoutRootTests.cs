using Sbox.Judges;
using Sbox.Linux;
using Sbox.Tomb.Tests.Mounting;

namespace Sbox.Tomb.Tests;

/// <summary>What needs no mount needs no root: the program as an ordinary account runs it, and real restic on what it wrote.</summary>
public sealed class WithoutRootTests : IDisposable
{
    private const uint Nobody = 65534;

    private readonly Place place = new();

    public WithoutRootTests()
    {
        Directory.CreateDirectory(place["home"]);
        Listing.Sh(place["home"], "mkdir -p a/b; echo one > a/one; head -c 300000 /dev/urandom > a/b/noise; ln -s one a/link; echo gone > gone");
        foreach (string name in (string[])["second", "third"])
            File.WriteAllText(place[name], $"{name} password\n");
        Listing.Sh(place.Path, $"mkdir program; chown -R {Nobody}:{Nobody} .");
    }

    public void Dispose() => place.Dispose();

    [Fact]
    public void Every_command_that_needs_no_mount_works_for_an_ordinary_account()
    {
        Tomb("create");
        Tomb("save", place["home"]);
        File.AppendAllText(place["home/a/one"], "more\n");
        File.Delete(place["home/gone"]);
        File.WriteAllText(place["home/fresh"], "new\n");
        Tomb("save", place["home"]);
        string[] ids = [.. Tomb("snapshots", "--json").Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => System.Text.Json.JsonDocument.Parse(line).RootElement.GetProperty("id").GetString()!)];
        Assert.Equal(2, ids.Length);

        Assert.Equal(Lines(place.Restic("diff", ids[0], ids[1])), Lines(Tomb("diff", ids[0], ids[1])));
        Assert.Contains($"{place["home"]}/a/b/noise", Tomb("ls", "latest", $"{place["home"]}/a"), StringComparison.Ordinal);
        Assert.Contains($"{place["home"]}/gone", Tomb("find", "gon*"), StringComparison.Ordinal);
        Assert.DoesNotContain("gone", Tomb("find", "--snapshot", ids[1], "fresh"), StringComparison.Ordinal);
        Assert.Contains("2", Tomb("stats"), StringComparison.Ordinal);
        Tomb("restore", "latest", "--path", place["home"], "--to", place["back"]);
        Assert.Equal(Listing.Of(place["home/a"]), Listing.Of(place["back/a"]));

        Assert.Contains("1 ", Tomb("forget", "--keep-last", "1", "--prune"), StringComparison.Ordinal);
        Tomb("check", "--read-data");
        place.Restic("check", "--read-data");
        Assert.Single(place.Restic("snapshots", "--json").Split("\"short_id\"").Skip(1));
    }

    [Fact]
    public void Passwords_are_added_changed_and_removed_and_restic_knows_no_others()
    {
        Tomb("create");
        Tomb("save", place["home"]);
        Tomb("key", "add", "--new-password-file", place["second"]);
        Assert.Equal(2, Tomb("key", "list").Split('\n', StringSplitOptions.RemoveEmptyEntries).Count(static line => line.Length > 0));
        (int code, string said) = Run(place["second"], "key", "passwd", "--new-password-file", place["third"]);
        Assert.True(code == 0, said);

        (code, said) = Run(place["second"], "snapshots");
        Assert.Equal(1, code);
        Assert.Contains("wrong password", said, StringComparison.Ordinal);
        string first = Tomb("key", "list").Split('\n').Single(static line => line.Contains('*', StringComparison.Ordinal)).Split((char[])[' ', '*'], StringSplitOptions.RemoveEmptyEntries)[0];
        (code, said) = Run(place["third"], "key", "remove", first);
        Assert.True(code == 0, said);
        Assert.NotEqual(0, Judge.Restic.Ask("-r", place.TombPath, "--password-file", place.PasswordFile, "--no-cache", "snapshots").ExitCode);
        Assert.Contains(place["home"], Judge.Restic.Run("-r", place.TombPath, "--password-file", place["third"], "--no-cache", "snapshots"), StringComparison.Ordinal);
    }

    [Fact]
    public void What_restic_prunes_of_ours_ours_opens_again()
    {
        Tomb("create");
        for (int round = 0; round < 3; round++)
        {
            Listing.Sh(place["home"], "head -c 400000 /dev/urandom > a/b/noise");
            Tomb("save", place["home"]);
        }

        place.Restic("forget", "--keep-last", "1", "--prune", "--max-unused", "0");
        Listing.Sh(place.Path, $"chown -R {Nobody}:{Nobody} tomb"); // real restic was root
        Tomb("check", "--read-data");
        Tomb("restore", "latest", "--path", place["home"], "--to", place["back"]);
        Assert.Equal(Listing.Of(place["home/a"]), Listing.Of(place["back/a"]));
        Tomb("save", place["home"]);
        place.Restic("check", "--read-data");
    }

    private static string[] Lines(string diff) =>
        [.. diff.Split('\n').Where(static line => line.Length > 2 && line[0] is '+' or '-' or 'M' && line.Contains('/', StringComparison.Ordinal)).Select(static line => string.Join(' ', line.Split(' ', StringSplitOptions.RemoveEmptyEntries)))];

    private string Tomb(params string[] arguments)
    {
        (int code, string said) = Run(place.PasswordFile, arguments);
        Assert.True(code == 0, $"{string.Join(' ', arguments)}: {code}\n{said}");
        return said;
    }

    // In a mount namespace of its own the program is where that account can reach it: a checkout may lie below /root.
    private (int Code, string Said) Run(string passwordFile, params string[] arguments)
    {
        string program = Path.GetDirectoryName(TestedProgram.Sbox)!;
        Verdict verdict = Judge.OnPath("unshare").Ask(
            ["--mount", "sh", "-ec", "mount --bind \"$1\" \"$2/program\"; program=$3; place=$2; shift 3; cd /; exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs "
            + "env -i PATH=/usr/bin:/bin HOME=\"$place\" DOTNET_TieredPGO=0 \"$place/program/$program\" \"$@\"",
            "sh", program, place.Path, Path.GetFileName(TestedProgram.Sbox), "tomb", "--tomb", place.TombPath, "--password-file", passwordFile, .. arguments]);
        return (verdict.ExitCode, verdict.Output + verdict.Error);
    }
}
