using System.Diagnostics;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>A real Firefox whose profile is in the tomb: databases with write-ahead logs, locks, caches in shared mappings, files renamed over others.</summary>
public sealed class BrowserTests
{
    private const string Page = """
        <html><body><script>localStorage.n = (+localStorage.n || 0) + 1; document.cookie = "seen=yes; max-age=99999"; document.body.append("visit " + localStorage.n)</script></body></html>
        """;

    // All databases of the profile are whole, and how often the page was seen, as the page itself has counted.
    private const string Look = """
        import glob, sqlite3
        for path in sorted(glob.glob("profile/**/*.sqlite", recursive=True)):
            found = sqlite3.connect(path).execute("pragma integrity_check").fetchone()[0]
            if found != "ok": print(path, found)
        print(sqlite3.connect(glob.glob("profile/storage/default/http*/ls/data.sqlite")[0]).execute("select cast(value as text) from data where key = 'n'").fetchone()[0])
        """;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact(Explicit = true), Trait("Category", "Slow")]
    public async Task What_Firefox_remembers_in_an_open_tomb_it_remembers_when_the_tomb_is_opened_again()
    {
        using var place = new Place();
        place.Restic("init");
        Directory.CreateDirectory(place["www"]);
        File.WriteAllText(place["www/index.html"], Page);
        int port = Server.FreePort();
        using Process www = Server.Start("python3", ["-m", "http.server", $"{port}", "--bind", "127.0.0.1", "--directory", place["www"]]);
        try
        {
            using (Dir here = Dir.Open(Path.GetTempPath()))
                here.ChangeMode(Path.GetFileName(place.Path), 0x1ED);
            await using (OpenTomb open = await OpenTomb.Of(place))
            {
                Judge.OnPath("install").Run("-d", "-o", "65534", "-g", "65534", $"{open.Path}/profile", $"{open.Path}/run");
                Visit(open, port);
                Assert.Equal(["1"], open.Sh($"python3 -c '{Look.Replace("'", "'\\''", StringComparison.Ordinal)}'"));
                await open.Save();
                Visit(open, port);
                await open.Close();
            }

            await using OpenTomb again = await OpenTomb.Of(place);
            Assert.Equal(["2"], again.Sh($"python3 -c '{Look.Replace("'", "'\\''", StringComparison.Ordinal)}'"));
            Visit(again, port);
            Assert.Equal(["3"], again.Sh($"python3 -c '{Look.Replace("'", "'\\''", StringComparison.Ordinal)}'"));
            await again.Close();
            place.Restic("check", "--read-data");
        }
        finally
        {
            www.Kill();
            await www.WaitForExitAsync(Cancel);
        }
    }

    private static void Visit(OpenTomb open, int port) => open.Sh(
        $"setpriv --reuid 65534 --regid 65534 --clear-groups env HOME={open.Path}/run XDG_RUNTIME_DIR={open.Path}/run timeout 120 firefox-esr --headless --profile {open.Path}/profile"
        + $" --screenshot {open.Path}/run/shot.png http://127.0.0.1:{port}/ > /dev/null 2>&1 && [ -s {open.Path}/run/shot.png ]");
}
