using System.Text.Json;

namespace Sbox.Tomb.Tests;

public sealed class BenchTests
{
    [Fact]
    public async Task A_place_is_measured_and_left_as_it_was_and_a_far_one_is_slower()
    {
        using var place = new Place();
        await using var far = new CountingBackend(place.Backend(), TimeSpan.FromMilliseconds(300));
        SboxProgram.Tomb(place, "create");
        string[] before = Directory.GetFiles(place.TombPath, "*", SearchOption.AllDirectories);
        JsonElement near = JsonDocument.Parse(SboxProgram.Tomb(place, "bench", "--json")).RootElement;
        Assert.All(near.EnumerateObject(), static each => Assert.True(each.Value.GetDouble() > 0, each.Name));
        await using TombRepository tomb = await TombRepository.Open(far, Place.Secret(), TestContext.Current.CancellationToken);
        TombSpeed speed = await TombBench.Run(tomb, TestContext.Current.CancellationToken);
        Assert.InRange(speed.RoundTrip.TotalMilliseconds, 299, 5000);
        Assert.InRange(speed.SmallRead.TotalMilliseconds, 299, 5000);
        Assert.True(speed.ReadPerSecond < TombBench.PackSize / 0.299, $"{speed.ReadPerSecond}");
        Assert.Equal(before.Order(), Directory.GetFiles(place.TombPath, "*", SearchOption.AllDirectories).Order());
        place.Restic("check", "--read-data");
    }
}
