using System.Text.Json;
using Sbox.Judges;

namespace Sbox.Tomb.Tests;

/// <summary>What the program would forget is what real restic would, of snapshots at odd times: by several clocks, around a change of summer time, in one second, of several machines, paths and tags.</summary>
public sealed class ForgetRuleTests(ForgetRuleTests.OddTomb odd) : IClassFixture<ForgetRuleTests.OddTomb>
{
    private readonly Place place = odd.Place;

    [Theory]
    [InlineData("--keep-last 3"), InlineData("--keep-hourly 7"), InlineData("--keep-daily 5"), InlineData("--keep-weekly 6"), InlineData("--keep-monthly 4"), InlineData("--keep-yearly 3")]
    [InlineData("--keep-within 30d"), InlineData("--keep-within 36h --keep-last 1"), InlineData("--keep-within 1y5m7d2h"), InlineData("--keep-within 0h --keep-monthly 1"), InlineData("--keep-tag keep"), InlineData("--keep-tag keep,twice --keep-last 1")]
    [InlineData("--keep-tag keep --keep-tag twice"), InlineData("--keep-daily unlimited"), InlineData("--keep-daily 1000"), InlineData("--keep-last 2 --keep-hourly 3 --keep-daily 4 --keep-weekly 5 --keep-monthly 6 --keep-yearly 7 --keep-within 20d --keep-tag keep")]
    [InlineData("--keep-daily 3 --group-by host"), InlineData("--keep-daily 3 --group-by paths"), InlineData("--keep-daily 3 --group-by tags"), InlineData("--keep-weekly 3 --group-by host,paths,tags"), InlineData("--keep-hourly 20 --group-by")]
    public void The_same_snapshots_would_go(string rules)
    {
        string[] words = [.. rules.Split(' '), .. rules.EndsWith("--group-by", StringComparison.Ordinal) ? [""] : Array.Empty<string>()];
        Verdict said = Judge.Restic.Ask(null, null, ["-r", place.TombPath, "--password-file", place.PasswordFile, "--no-cache", "forget", "--dry-run", "--json", .. words]);
        (int code, string output, string error) = SboxProgram.Run(place, ["tomb", "--json", "--tomb", place.TombPath, "--password-file", place.PasswordFile, "forget", "--dry-run", .. words]);
        Assert.True(code == said.ExitCode, $"{code}\n{output}{error}{said.Output}{said.Error}"); // 1 where nothing of a group would stay
        if (code == 1)
        {
            Assert.Contains("no rule keeps any of the", error, StringComparison.Ordinal);
            return;
        }

        string[] theirs = [.. JsonDocument.Parse(said.Output).RootElement.EnumerateArray()
            .SelectMany(static group => group.GetProperty("remove") is { ValueKind: JsonValueKind.Array } gone ? gone.EnumerateArray().Select(static each => each.GetProperty("id").GetString()!) : []).Order(StringComparer.Ordinal)];
        string[] ours = [.. output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => JsonDocument.Parse(line).RootElement.GetProperty("forget").GetString()!).Order(StringComparer.Ordinal)];
        Assert.NotEmpty(rules.Contains("1000", StringComparison.Ordinal) || rules.Contains("unlimited", StringComparison.Ordinal) ? ["of each day"] : theirs);
        Assert.Equal(theirs, ours);
    }

    /// <summary>A tomb of sixty such snapshots.</summary>
    public sealed class OddTomb : IAsyncLifetime
    {
        internal Place Place { get; } = new();

        public async ValueTask InitializeAsync()
        {
            Directory.CreateDirectory(Place["home"]);
            await using TombRepository tomb = await Place.Create(Place.Backend());
            Snapshot first = (await Saving.Save(tomb, Place["home"])).Snapshot!;
            await new ForgetPlan([], [first]).Execute(tomb, TestContext.Current.CancellationToken);
            foreach (Snapshot each in Odd(first))
                await tomb.SaveDocument(StoredFileType.Snapshot, each.ToBytes(), TestContext.Current.CancellationToken);
        }

        public ValueTask DisposeAsync()
        {
            Place.Dispose();
            return ValueTask.CompletedTask;
        }

        private static IEnumerable<Snapshot> Odd(Snapshot like)
        {
            var random = new Random(30);
            string[] hosts = ["one", "two", "two"];
            string[][] paths = [["/home"], ["/home", "/etc"], ["/etc", "/home"], ["/home"]], tags = [[], ["keep"], ["twice", "keep"], ["keep", "twice"], ["other"], []];
            long time = new DateTimeOffset(2022, 12, 24, 22, 58, 30, TimeSpan.Zero).ToUnixTimeSeconds();
            for (int n = 0; n < 60; n++)
            {
                // Around the end of summer time an hour comes twice by the clock; around the new year a week belongs to two.
                time = n == 59 ? new DateTimeOffset(2100, 1, 1, 0, 0, 0, TimeSpan.Zero).ToUnixTimeSeconds() : n == 20 ? new DateTimeOffset(2024, 10, 26, 21, 50, 0, TimeSpan.Zero).ToUnixTimeSeconds() : n == 40 ? new DateTimeOffset(2024, 12, 29, 20, 0, 0, TimeSpan.Zero).ToUnixTimeSeconds()
                    : time + (n is > 20 and < 32 ? 1500 : n is > 40 and < 52 ? random.Next(3, 40) * 3600 : n % 7 == 0 ? 0 : random.Next(600, 86400 * 40));
                short zone = n is > 20 and < 32 ? (short)(time < new DateTimeOffset(2024, 10, 27, 1, 0, 0, TimeSpan.Zero).ToUnixTimeSeconds() ? 120 : 60) : (short)(n % 11 == 5 ? -570 : n % 5 == 3 ? 840 : 0);
                yield return like with
                {
                    Time = new Moment(time, n % 7 == 0 ? 0 : (uint)random.Next(999_999_999), zone), Hostname = hosts[random.Next(3)], Paths = paths[random.Next(4)], Tags = tags[random.Next(6)], Parent = null,
                };
            }
        }
    }
}
