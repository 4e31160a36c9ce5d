using System.Globalization;
using Sbox.Judges;

namespace Sbox.Tour.Tests;

// Machines under emulation take all the processor there is: one collection, so one at a time.
[Collection("machine")]
public sealed class TourTests(ITestOutputHelper output)
{
    private const int UsualCuts = 36;

    private static DemoImage Image => DemoImage.Ensure(new Tools(SourceTree.Root), Judge.Cache);

    [Fact, Trait("Category", "Slow")]
    public async Task A_box_boots_upgrades_as_a_whole_and_rolls_back_with_its_data_and_wherever_the_power_had_failed_it_could_go_on()
    {
        DemoImage image = Image;
        var story = new Story(image, MachineOf(image), output.WriteLine, recorded: true);
        await story.Tell();
        foreach (StepCost cost in image.Made.Concat(story.Costs))
            output.WriteLine(cost.ToString());
        Cut(image);
    }

    /// <summary>As often as somebody likes, without the machine: with another seed, or at every flush.</summary>
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public void Wherever_the_power_had_failed_in_the_last_tour_the_box_could_have_gone_on() => Cut(Image);

    private static string MachineOf(DemoImage image) => Path.Combine(image.Directory, "test-machine");

    private void Cut(DemoImage image)
    {
        int? count = Environment.GetEnvironmentVariable("SBOX_REPLAY_CUTS") switch
        {
            null => UsualCuts,
            "all" => null,
            var told => int.Parse(told, CultureInfo.InvariantCulture),
        };
        int seed = Environment.GetEnvironmentVariable("SBOX_SEED") is { } given ? int.Parse(given, CultureInfo.InvariantCulture) : Random.Shared.Next();
        using var cuts = new DiskCuts(image, MachineOf(image), seed, output.WriteLine);
        IReadOnlyList<string> findings = cuts.Make(count);
        Assert.True(findings.Count == 0, string.Join('\n', findings));
    }
}
