using System.Diagnostics;
using Sbox.Linux;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>The limits that docs/tomb-mount.md names, in an open tomb as a person opens it, beside restic's own server.</summary>
public sealed class AwayTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30), WhileGone = TimeSpan.FromSeconds(3);

    // Less than another wait of three seconds: the kernel asks again for what it could not read ahead, and nobody shall wait for that too.
    private static readonly TimeSpan Slack = TimeSpan.FromSeconds(2.8);

    // Reads a while, lets the test take the server away, and reads on: says what it met and after how many milliseconds.
    private const string MidRead = """
        exec 3< big; head -c 3000000 <&3 | wc -c; : > ../half; while [ ! -e ../away ]; do sleep 0.05; done
        begun=$(date +%s%3N); cat <&3 2>&1 > /dev/null | sed 's/.*: //'; echo $(($(date +%s%3N) - begun))
        """;

    private const string Again = "sleep 1.5; begun=$(date +%s%3N); tail -c 1000000 other 2>&1 > /dev/null | sed 's/.*: //'; echo $(($(date +%s%3N) - begun))";

    [Theory, InlineData(Signals.Stop), InlineData(Signals.Kill)]
    public async Task A_remote_that_goes_in_the_middle_of_a_read_is_an_error_after_thirty_seconds_then_after_three_and_comes_back_by_itself(int signal)
    {
        // Whoever waits for a processor of a busy machine waits longer than that, but not every time; sooner it never comes.
        for (int more = 2; ; more--)
        {
            (TimeSpan first, TimeSpan then) = await GoAndComeBack(signal);
            if (more > 0 && (first > Limit + Slack || then > WhileGone + Slack))
                continue;
            Assert.InRange(first, TimeSpan.Zero, Limit + Slack);
            Assert.InRange(then, TimeSpan.Zero, WhileGone + Slack);
            return;
        }
    }

    // How long the two errors took.
    private static async Task<(TimeSpan First, TimeSpan Then)> GoAndComeBack(int signal)
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        Listing.Sh(place["home"], "head -c 40000000 /dev/urandom > big; head -c 20000000 /dev/urandom > other");
        place.Restic("init");
        place.Restic("backup", place["home"]);
        Directory.CreateDirectory(place["served"]);
        Directory.Move(place.TombPath, place["served/me"]);
        Server server = await Server.Rest(place);
        try
        {
            Directory.CreateDirectory(place["at"]);
            SboxTomb(place, "--tomb", $"rest:http://127.0.0.1:{server.Port}/me/", "--password-file", place.PasswordFile, "open", "--at", place["at"], "--name", "t", "--run-directory", place["run"]);
            Task<IReadOnlyList<string>> reading = Task.Run(() => Listing.Sh(place["at"], MidRead));
            Assert.True(SpinWait.SpinUntil(() => File.Exists(place["half"]), TimeSpan.FromSeconds(60)));
            Signals.Send(server.ProcessId, signal);
            await File.WriteAllTextAsync(place["away"], "", TestContext.Current.CancellationToken);
            TimeSpan first = Says("3000000", Limit, await reading.WaitAsync(TimeSpan.FromMinutes(3), TestContext.Current.CancellationToken));
            TimeSpan then = Says(null, WhileGone, Listing.Sh(place["at"], Again));
            Assert.Contains("the remote does not answer since", SboxTomb(place, "status", "--run-directory", place["run"]), StringComparison.Ordinal);

            if (signal == Signals.Stop)
                Signals.Send(server.ProcessId, Signals.Continue);
            else
                server = await Server.Rest(place, port: server.Port);
            Assert.True(SpinWait.SpinUntil(() => Listing.Sh(place["at"], "cmp big ../home/big && cmp other ../home/other && echo whole") is ["whole"], TimeSpan.FromSeconds(60)));
            Assert.DoesNotContain("does not answer", SboxTomb(place, "status", "--run-directory", place["run"]), StringComparison.Ordinal);
            return (first, then);
        }
        finally
        {
            server.Dispose();
            SboxProgram.Run(place, "tomb", "slam", "--all", "--run-directory", place["run"]);
        }
    }

    private static TimeSpan Says(string? before, TimeSpan limit, IReadOnlyList<string> said)
    {
        string all = string.Join('\n', said);
        TestContext.Current.TestOutputHelper?.WriteLine(all);
        Assert.Equal(before is null ? ["Input/output error"] : [before, "Input/output error"], said.SkipLast(1));
        TimeSpan took = TimeSpan.FromMilliseconds(long.Parse(said[^1], System.Globalization.CultureInfo.InvariantCulture));
        Assert.InRange(took, limit - TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(2));
        return took;
    }

    private static string SboxTomb(Place place, params string[] words)
    {
        (int code, string output, string error) = SboxProgram.Run(place, ["tomb", .. words]);
        Assert.True(code == 0, $"{code}\n{output}{error}");
        return output;
    }
}
