using System.Globalization;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;

namespace Sbox.Delivery.Tests;

/// <summary>A pull from nginx over a line that is cut fifty times.</summary>
public sealed class CutLineTests : IDisposable
{
    private const int Cuts = 50, Small = 300, Large = 2, LargeSize = 2_500_000;

    // A reader that was cut may ask for something in the moment of the next cut. A box whose line breaks fifty times within seconds is a test's.
    private const int Retries = 50;
    private readonly Workshop shop = new();
    private readonly int seed = int.TryParse(Environment.GetEnvironmentVariable("SBOX_SEED"), CultureInfo.InvariantCulture, out int told) ? told : Random.Shared.Next();

    public void Dispose() => shop.Dispose();

    [Theory, InlineData(false, false), InlineData(true, false), InlineData(true, true)]
    [Trait("Category", "Slow")]
    public async Task What_came_before_a_cut_does_not_come_again(bool byDelta, bool http2)
    {
        TestContext.Current.TestOutputHelper?.WriteLine($"SBOX_SEED={seed}");
        PublishOptions how = shop.Signed() with { DeltasFrom = byDelta ? 1 : 0, DeltaFromNothing = false };
        Checksum old = shop.Commit();
        await shop.Publish(options: how);
        Grow();
        Checksum commit = shop.Commit();
        await shop.Publish(options: how);
        using var nginx = new Nginx(shop.Root, http2 ? "http2" : "", "keepalive_requests 100000;");
        foreach (string reader in new[] { "whole", "cut" })
            await Pull(reader, nginx.Url, old, DeltaUse.Never, http2);

        DeltaUse deltas = byDelta ? DeltaUse.Required : DeltaUse.Never;
        using var whole = new CuttingProxy(nginx.Port, http2, [], seed);
        await Pull("whole", whole.Url, commit, deltas, http2);
        var random = new Random(seed);
        using var cut = new CuttingProxy(nginx.Port, http2, Enumerable.Range(0, Cuts).Select(_ => 1 + random.NextInt64(whole.Passed)).Order(), seed);
        await Pull("cut", cut.Url, commit, deltas, http2);

        Assert.InRange(whole.Passed, Large * LargeSize, 20_000_000);
        Assert.Equal(Cuts, cut.Cuts);
        long again = cut.Passed - whole.Passed;
        TestContext.Current.TestOutputHelper?.WriteLine($"{whole.Passed} bytes uncut; {again} again, and {cut.Lost} lost on the way, with {cut.Cuts} cuts of {cut.Broken} connections");
        // With a connection of HTTP/2 that breaks, the class library drops what had come and was not read yet: docs/decisions/0029. To begin anew each time would be many times the whole.
        long borne = http2 ? whole.Passed / 2 : whole.Passed / 100;
        Assert.True(again - cut.Lost <= borne, $"{again} bytes came again of {whole.Passed}, {cut.Lost} of them lost on the way: SBOX_SEED={seed}");
    }

    // Large files, small ones, and none that compresses: what comes is about what is there.
    private void Grow()
    {
        Directory.CreateDirectory(shop["tree/usr/grown"]);
        for (int n = 0; n < Small + Large; n++)
            File.WriteAllBytes(shop[$"tree/usr/grown/{n}"], Workshop.Noise(n, n < Large ? LargeSize : 500 + (n * 20)));
    }

    private async Task Pull(string name, string url, Checksum commit, DeltaUse deltas, bool http2 = false)
    {
        if (!Directory.Exists(shop[name]))
            Repository.Create(shop[name], RepositoryMode.BareUser).Dispose();
        string config = shop[$"{name}/config"];
        File.WriteAllText(config, File.ReadAllText(config).Split("[remote")[0] + $"[remote \"origin\"]\nurl={url}\ngpg-verify=false\nsbox-http2-cleartext={(http2 ? "true" : "false")}\n");
        using (Repository reader = Repository.Open(shop[name]))
        {
            PullResult result = await reader.Pull(
                new PullOptions { Remote = "origin", Refs = [$"{Workshop.Branch}@{commit}"], Deltas = deltas, Retries = Retries }, null, TestContext.Current.CancellationToken);
            Assert.Equal(deltas == DeltaUse.Required, result.Deltas.Parts > 0);
        }

        Assert.Contains("no errors found", Judge.HostOstree.Run("fsck", $"--repo={shop[name]}"), StringComparison.Ordinal);
        Assert.Equal($"{commit}", Judge.HostOstree.Run("rev-parse", $"--repo={shop[name]}", $"origin:{Workshop.Branch}").Trim());
    }
}
