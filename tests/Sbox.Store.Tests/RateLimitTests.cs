using System.Diagnostics;
using Sbox.Codecs;

namespace Sbox.Store.Tests;

/// <summary>A pull that leaves the rest of the line to others.</summary>
public sealed class RateLimitTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("10000", 10_000)]
    [InlineData("500K", 500_000)]
    [InlineData(" 2.5M ", 2_500_000)]
    [InlineData("1g", 1_000_000_000)]
    public void A_rate_is_bytes_a_second_with_a_letter_for_thousands(string text, long rate) => Assert.Equal(rate, RateLimit.Parse(text, "here"));

    [Theory]
    [InlineData("")]
    [InlineData("K")]
    [InlineData("-5M")]
    [InlineData("9999")]
    [InlineData("2,5M")]
    [InlineData("1e9")]
    [InlineData("fast")]
    [InlineData("99999999999G")]
    public void What_is_no_rate_is_said_to_be_none(string text) => Assert.Throws<MalformedException>(() => RateLimit.Parse(text, "here"));

    [Fact]
    public async Task All_requests_together_stay_below_it_and_an_option_stands_over_the_remotes_setting()
    {
        using var scratch = new Scratch();
        using Repository source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        string tree = Directory.CreateDirectory(scratch["tree"]).FullName;
        for (int file = 0; file < 12; file++)
            File.WriteAllBytes($"{tree}/{file}", System.Security.Cryptography.RandomNumberGenerator.GetBytes(50_000));
        source.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
        using var server = new StaticServer(source.Path);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Archive);
        File.AppendAllText($"{ours.Path}/config", $"\n[remote \"origin\"]\nurl={server.Url}\ngpg-verify=false\nsbox-rate-limit=100K\n");
        using Repository again = Repository.Open(ours.Path);
        long begun = Stopwatch.GetTimestamp();
        PullResult slow = await again.Pull(new PullOptions { Remote = "origin", Refs = ["main"] });
        Assert.InRange(Stopwatch.GetElapsedTime(begun).TotalSeconds, ((slow.BytesTransferred - 50_000) / 100_000.0) - 0.3, 120);
        Assert.True(slow.BytesTransferred > 600_000);

        // With the limit it cannot take less; without it a busy machine may take as long, but not every time.
        double limited = slow.BytesTransferred / 100_000.0, best = double.MaxValue;
        for (int attempt = 0; attempt < 3 && best >= limited; attempt++)
        {
            using Repository other = Repository.Create(scratch[$"other{attempt}"], RepositoryMode.Archive);
            File.Copy($"{ours.Path}/config", $"{other.Path}/config", overwrite: true);
            using Repository fast = Repository.Open(other.Path);
            begun = Stopwatch.GetTimestamp();
            await fast.Pull(new PullOptions { Remote = "origin", Refs = ["main"], BytesPerSecond = 0 });
            best = Math.Min(best, Stopwatch.GetElapsedTime(begun).TotalSeconds);
        }

        Assert.True(best < limited, "as slow as with the limit");
    }
}
